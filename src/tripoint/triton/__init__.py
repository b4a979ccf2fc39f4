"""Triton Inference Server: models in its repositories, and mistakes in them."""

from tripoint.triton.checking import check
from tripoint.triton.exporting import Exported, export
from tripoint.triton.findings import Checked, Finding, Unchecked

__all__ = ["Checked", "Exported", "Finding", "Unchecked", "check", "export"]
