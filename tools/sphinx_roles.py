"""Sphinx markup of docstrings, such as :func:`tripoint.verify`, as the Markdown of the site."""

from __future__ import annotations

import re

import griffe

ROLE = re.compile(r":[a-z]+:`~?([\w.]+)`")
LITERAL = re.compile(r"::$", re.MULTILINE)
"""Before a block of code, which the indentation shows already."""


def markdown(match: re.Match[str]) -> str:
    """Return a link for a name of the package itself, and code for one inside of a module."""
    name = match[1]
    return f"[`{name}`][{name}]" if re.fullmatch(r"tripoint\.\w+", name) else f"`{name}`"


class SphinxRoles(griffe.Extension):
    """Rewrites the roles in every docstring that is collected."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of one object in place."""
        if obj.docstring:
            obj.docstring.value = LITERAL.sub(":", ROLE.sub(markdown, obj.docstring.value))
