"""The rewrites, one a file; a file has the name of its rule."""
