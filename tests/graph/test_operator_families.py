"""The families of operators, held beside the specification."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import onnx.defs
import pytest

from tripoint.graph import ops

SCHEMAS = {
    schema.name: schema
    for schema in onnx.defs.get_all_schemas()
    if schema.domain == "" and not schema.deprecated
}


def test_no_operator_is_in_two_families() -> None:
    counts = Counter(op for family in ops.FAMILIES for op in family)
    assert {op for op, count in counts.items() if count > 1} == set()
    if onnx.defs.onnx_opset_version() >= 28:  # an older onnx lacks some that the families have
        assert set(counts) - set(SCHEMAS) <= {"Scatter", "Upsample"}  # deprecated


@pytest.mark.parametrize("op", sorted(set(SCHEMAS) - {"StringConcat"}))
def test_what_broadcasts_both_ways_is_what_the_specification_says(op: str) -> None:
    text = SCHEMAS[op].doc.lower()
    says = "multidirectional" in text or "**not** support multidirectional" in text
    known = op in ops.BROADCASTING
    if op in {"MatMul", "Gemm", "Expand"} or "unidirectional" in text:
        assert not known
    else:
        assert known == says


def test_what_differs_between_families_was_decided() -> None:
    assert {"PRelu"} == ops.ELEMENTWISE - ops.BROADCASTING
    assert {"BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor"} <= ops.BROADCASTING
    assert "BitwiseNot" in ops.POINTWISE


def written_out(statement: ast.stmt) -> set[str]:
    """The names that a statement lists; those of a table with a row for each are none of them."""
    lists = [each.elts for each in ast.walk(statement) if isinstance(each, ast.Tuple | ast.Set)]
    return {
        each.value
        for elements in lists
        if all(isinstance(each, ast.Constant | ast.Starred) for each in elements)
        for each in elements
        if isinstance(each, ast.Constant)
    }


def test_no_other_module_writes_a_family_out() -> None:
    families = {
        name: members
        for name, members in vars(ops).items()
        if isinstance(members, frozenset) and len(members) > 2
    }
    source = Path(ops.__file__).parents[1]
    again = {
        (path.relative_to(source).as_posix(), name)
        for path in source.rglob("*.py")
        if path != Path(ops.__file__)
        for statement in ast.parse(path.read_text(encoding="utf-8")).body
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
        for listed in [written_out(statement)]
        for name, members in families.items()
        if members <= listed
    }
    assert again == set()
