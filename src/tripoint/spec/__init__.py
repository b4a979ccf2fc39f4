"""The shape language: how a person writes the inputs of a model."""

from __future__ import annotations

from tripoint.spec.parse import Spec
from tripoint.spec.types import (
    DTYPES,
    ENDS,
    FORMS,
    InputSpec,
    Range,
    Values,
    ordered,
    parse_dim,
    parse_input,
)

__all__ = [
    "DTYPES",
    "ENDS",
    "FORMS",
    "InputSpec",
    "Range",
    "Spec",
    "Values",
    "ordered",
    "parse_dim",
    "parse_input",
]
