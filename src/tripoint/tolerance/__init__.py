"""How far results may lie apart, derived from the arithmetic of the graph."""
