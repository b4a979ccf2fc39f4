"""Rewrites that give operators on one spatial axis a second one."""
