"""The words of docstrings and names in the package, as CONTRIBUTING.md asks for them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import tripoint

QUESTION = re.compile(r"(What|How|Why|Whether|Where|Which|When|Who)\b")
NAMES = {"found", "given", "known", "made"}

FILES = sorted(Path(tripoint.__file__).parent.rglob("*.py"))


def openings(tree: ast.AST) -> Iterator[str]:
    """First lines of docstrings that open with a question word."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node) or ""
            if QUESTION.match(text):
                yield text.splitlines()[0]


def names(tree: ast.AST) -> Iterator[str]:
    """Names that are bound: functions, classes, parameters, variables, attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr


def test_docstrings_say_what_is_returned_or_done() -> None:
    questions = [
        f"{path.name}: {line}" for path in FILES for line in openings(ast.parse(path.read_text()))
    ]
    assert not questions


def test_names_say_what_a_result_is() -> None:
    vague = [
        f"{path.name}: {name}"
        for path in FILES
        for name in names(ast.parse(path.read_text()))
        if name.strip("_") in NAMES
    ]
    assert not vague


def test_the_checks_see_what_they_look_for() -> None:
    tree = ast.parse('def known(given):\n    """Why it is so."""\n    self.made = found = given\n')
    assert list(openings(tree)) == ["Why it is so."]
    assert set(names(tree)) == NAMES
