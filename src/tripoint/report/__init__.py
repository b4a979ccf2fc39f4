"""Output formats; every one is a view of the same dataclasses."""
