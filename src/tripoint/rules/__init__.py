"""Rules that read the tensor table and report findings, one a file."""
