"""Tolerances of results, derived from the arithmetic of the graph."""
