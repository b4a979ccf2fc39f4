"""Optimization profiles: read, checked, proposed, written for other tools."""
