"""Sizes that are moved about in a matrix, and operands without elements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

import tripoint
from tests.helpers.graphs import operators

FLAT, EMPTY = "flat-sizes", "empty-operands"

CONSTANTS = """<int64[1] zero={0}, int64[1] three={3}, int64[2] two_by_four={2, 4},
    int64[2] four_by_two={4, 2}, int64[1] flat={-1}, int64[1] minus={-1}, int64[1] first={0},
    int64[1] lowest={-9223372036854775807}, int64[1] four={4}, int64[1] eight={8},
    int64[8] fixed={0, 0, 1, 1, 0, 0, 2, 2}>"""
PARTS = "s = Shape(x)\nh = Gather(s, three)\nm = Add(h, three)\n"
JOINED = "p = Concat<axis=0>(zero, m, zero, zero, zero, h, m, zero)\n"


def saved(folder: Path, body: str, opset: int = 13) -> Path:
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[N,3,H,W] x) => (float[a,b,c,d] y) {CONSTANTS} {{ {PARTS}{body} }}"""
    onnx.save(onnx.parser.parse_model(text), folder / "model.onnx")
    return folder / "model.onnx"


def same(path: Path, result: tripoint.rewrites.base.FixResult, folder: Path) -> None:
    """Both files compute the same at sizes that no proof has seen."""
    tripoint.model.save(result.model, folder / "fixed.onnx")
    x = np.random.default_rng(0).normal(size=(3, 3, 4, 7)).astype(np.float32)
    legs = [
        onnxruntime.InferenceSession(str(file)).run(None, {"x": x})
        for file in (path, folder / "fixed.onnx")
    ]
    for one, other in zip(*legs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("moves", "gone"),
    [
        ("q = Reshape(p, four_by_two)\nt = Transpose<perm=[1,0]>(q)\npads = Reshape(t, flat)", 3),
        (
            "q = Reshape(p, four_by_two)\nr = Slice(q, minus, lowest, first, minus)\n"
            "t = Transpose<perm=[1,0]>(r)\npads = Reshape(t, flat)",
            4,
        ),
        ("q = Reshape(p, two_by_four)\npads = Flatten<axis=0>(q)\nw = Squeeze(pads, first)", 2),
        ("q = Unsqueeze(p, first)\nt = Transpose(q)\npads = Reshape(t, eight)", 3),
        (
            "q = Reshape(p, two_by_four)\na = Slice(q, zero, minus, zero)\n"
            "c = Concat<axis=0>(a, a)\npads = Reshape(c, eight)",
            4,
        ),
    ],
)
def test_elements_are_put_together_as_a_vector(tmp_path: Path, moves: str, gone: int) -> None:
    operand = "w" if "w =" in moves else "pads"
    path = saved(tmp_path, f"{JOINED}{moves}\ny = Pad(x, {operand})")
    result = tripoint.fix(path, target="8.2", select=[FLAT])
    (applied,) = result.applied
    assert applied.rewrite == FLAT
    assert len(applied.nodes) >= gone
    assert result.proven
    assert "Transpose" not in operators(result.model)
    assert not [each for each in result.facts_after.table.refusals if "rank 2" in each.reason]
    same(path, result, tmp_path)


def test_what_is_refused_before_is_not_behind(tmp_path: Path) -> None:
    moves = "q = Reshape(p, four_by_two)\nt = Transpose<perm=[1,0]>(q)\npads = Reshape(t, flat)"
    path = saved(tmp_path, f"{JOINED}{moves}\ny = Pad(x, pads)")
    for target in ("8.2", "8.4"):
        before = tripoint.shapes(path, target=target).refusals
        assert [each.op for each in before] == ["Pad"]
        after = tripoint.fix(path, target=target)
        assert after.facts_after.table.refusals == ()


@pytest.mark.parametrize(
    "moves",
    [
        # Positions that are decided at run time, arithmetic in the matrix, and no matrix at all.
        "i = Sub(h, h)\nq = Reshape(p, four_by_two)\nr = Gather(q, i)\nt = Concat<axis=0>(r, q)\n"
        "u = Slice(t, zero, four, first)\npads = Reshape(u, flat)",
        "q = Reshape(p, four_by_two)\nt = Add(q, zero)\npads = Reshape(t, flat)",
        "pads = Reshape(p, flat)",
    ],
)
def test_elements_that_are_computed_on_the_way_stay(tmp_path: Path, moves: str) -> None:
    path = saved(tmp_path, f"{JOINED}{moves}\ny = Pad(x, pads)")
    assert tripoint.fix(path, target="8.2", select=[FLAT]).applied == ()


def test_a_vector_that_is_known_is_left_to_the_constants(tmp_path: Path) -> None:
    moves = "q = Reshape(fixed, four_by_two)\nt = Transpose(q)\npads = Reshape(t, flat)"
    path = saved(tmp_path, f"{moves}\ny = Pad(x, pads)")
    assert tripoint.fix(path, target="8.2", select=[FLAT]).applied == ()


EMPTY_SLICE = "e = Slice(x, zero, zero, three)\n"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (f"{EMPTY_SLICE}c = Concat<axis=3>(x, e)\ny = Relu(c)", ["Relu"]),
        (f"{EMPTY_SLICE}c = Concat<axis=-1>(e, x)\ny = Relu(c)", ["Relu"]),
        (f"{EMPTY_SLICE}y = Concat<axis=3>(x, e, x)", ["Concat"]),
        (f"{EMPTY_SLICE}r = Relu(e)\ny = Concat<axis=3>(x, r, x)", ["Concat"]),
        (f"{EMPTY_SLICE}c = Concat<axis=3>(e, e)\ny = Concat<axis=3>(c, x)", ["Concat"]),
        (f"{EMPTY_SLICE}y = Concat<axis=3>(x, e)", ["Concat"]),
    ],
)
@pytest.mark.parametrize("target", ["7.1", "8.6"])
def test_operands_without_elements_go(
    tmp_path: Path, body: str, left: list[str], target: str
) -> None:
    path = saved(tmp_path, body)
    result = tripoint.fix(path, target=target)
    assert EMPTY in [each.rewrite for each in result.applied]
    assert result.proven
    assert operators(result.model) == left
    assert result.facts_after.table.refusals == ()
    same(path, result, tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        "e = Slice(x, zero, three, three)\ny = Concat<axis=3>(x, e)",
        "e = Slice(x, zero, zero, three)\ny = Concat<axis=2>(e, e)",
        "e = Slice(x, zero, h, three)\ny = Concat<axis=3>(x, e)",
    ],
)
def test_operands_that_have_elements_or_may_have_stay(tmp_path: Path, body: str) -> None:
    assert tripoint.fix(saved(tmp_path, body), target="8.6", select=[EMPTY]).applied == ()
