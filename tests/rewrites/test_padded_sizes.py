"""A Pad of a shape tensor becomes a Concat, and is blamed where TensorRT refuses it."""

from __future__ import annotations

import pytest

import tripoint
from tests.helpers.graphs import assert_same_function, build, operators
from tripoint.errors import TripointError

NAME = "padded-sizes"
CONSTANTS = "int64 one = {1}, int64[2] tail = {-1,3}, int64[1] three = {3}, int64 zero = {0}"
SIZES = [{"H": h, "W": 2 * h + 3} for h in (1, 2, 5)]


@pytest.mark.parametrize(
    ("pads", "body", "rewritten"),
    [
        ("1,-2", "t = Pad(s, p, one); u = Concat<axis = 0>(t, tail)", ["Gather", "Concat"]),
        ("1,-2", 't = Pad<mode = "edge">(s, p); u = Concat<axis = 0>(t, tail)', ["Gather"]),
        (
            "1,-2",
            'r = Gather(s, turned); t = Pad<mode = "reflect">(r, p); u = Concat<axis = 0>(t, tail)',
            ["Gather", "Gather"],
        ),
        ("-1,-1", "t = Pad(s, p); u = Concat<axis = 0>(t, tail)", ["Gather"]),
        ("1,1", "u = Pad(s, p, one)", ["Concat"]),
        ("0,1", "u = Pad(s, p, one)", ["Concat"]),
        ("2,-1", "t = Pad(s, p, one); u = Concat<axis = 0>(t, three, two)", ["Gather", "Concat"]),
    ],
)
def test_the_parser_takes_it(pads: str, body: str, rewritten: list[str]) -> None:
    model = build(
        f"float[2,H,W,6] x | {CONSTANTS}, int64[1] two = {{2}}, int64[4] turned = {{1,0,2,3}},"
        f"int64[2] p = {{{pads}}}",
        f"s = Shape(x); {body}; y = Reshape(x, u)",
        13,
        "float[] y",
    )
    result = tripoint.fix(model, target="installed", select=[NAME])
    (applied,) = result.applied
    assert applied.proof.holds
    assert result.proven
    found = [op for op in operators(result.model) if op not in ("Shape", "Reshape")]
    assert found == [*rewritten, *(["Concat"] if "Concat" in body else [])]
    assert_same_function(model, result.model, SIZES)
    table = result.facts_after.table
    assert not table.refusals
    (y,) = (facts for facts in table.tensors if facts.name == "y")
    assert y.tensorrt is not None


@pytest.mark.parametrize("target", ["8.6", "10.1", "7.1"])
def test_versions_that_pad_no_shape_tensor(target: str) -> None:
    model = build(
        f"float[2,H,4,6] x | {CONSTANTS}, int64[2] p = {{0,-1}}, int64[2] rest = {{2,3}}",
        "s = Shape(x); t = Pad(s, p); u = Concat<axis = 0>(t, rest); y = Reshape(x, u)",
        13,
        "float[] y",
    )
    result = tripoint.fix(model, target=target)
    assert result.proven
    assert result.after.lost_dims == 0
    assert operators(result.model) == ["Reshape"]


@pytest.mark.parametrize(
    "body",
    [
        # Its pads are not known.
        "k = Gather(s, one); q = Unsqueeze(k, axis); p2 = Concat<axis = 0>(q, axis);"
        "y = Pad(s, p2, one)",
        # The number is not known.
        "k = Gather(s, one); y = Pad(s, p, k)",
        # No vector.
        "m = Unsqueeze(s, axis); y = Pad(m, four)",
        # No integers.
        "f = Cast<to = 1>(s); y = Pad(f, p)",
    ],
)
def test_others_stay(body: str) -> None:
    model = build(
        f"float[2,H] x | {CONSTANTS}, int64[2] p = {{1,0}}, int64[1] axis = {{0}},"
        "int64[4] four = {0,1,0,0}",
        f"s = Shape(x); {body}",
        13,
        "y",
    )
    try:
        result = tripoint.fix(model, target="8.6", select=[NAME])
    except TripointError as error:  # pragma: no cover - says what went wrong
        pytest.fail(str(error))
    assert result.applied == ()


@pytest.mark.parametrize("name", ["", "[padding] "])
def test_the_pad_is_blamed_not_the_reshape(name: str) -> None:
    model = build(
        f"float[2,H,W,6] x | {CONSTANTS}, int64[2] p = {{1,-2}}",
        f"s = Shape(x); {name}t = Pad(s, p, one); u = Concat<axis = 0>(t, tail); y = Reshape(x, u)",
        13,
        "float[] y",
    )
    (refusal,) = tripoint.shapes(model, target="installed").refusals
    assert (refusal.op, refusal.node) == ("Pad", "padding" if name else "t")
    assert "Reshape `y`" in refusal.reason
