"""The families of operators, held beside the specification."""

from __future__ import annotations

from collections import Counter

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
