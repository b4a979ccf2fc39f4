"""Versions of installed packages, read without importing them."""

from __future__ import annotations

from importlib import metadata


def version(distribution: str) -> str | None:
    """Version of a distribution, None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
