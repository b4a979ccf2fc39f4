"""The version, apart from the package so that every module can read it."""

from __future__ import annotations

__version__ = "0.1.0"
