"""Profiles and points out of what a person writes."""

from __future__ import annotations

import pytest

from tripoint.errors import UsageError
from tripoint.profiles import points, profile
from tripoint.spec import Range, Spec

IMAGE = {"x": ("N", 3, "H", "W")}
TEXT = {"ids": ("batch", "length"), "mask": ("batch", "length")}


def test_static_inputs_need_nothing():
    made = profile.from_spec({"x": (1, 3, 5, 5)}, Spec())
    assert made.inputs == (profile.InputProfile("x", (1, 3, 5, 5), (1, 3, 5, 5), (1, 3, 5, 5)),)
    assert points.few({}) == [{}]


def test_dims_bind_symbols_of_every_input():
    spec = Spec.parse(dims=["batch=1..8..32", "length=16..128"])
    made = profile.from_spec(TEXT, spec)
    assert [entry.name for entry in made.inputs] == ["ids", "mask"]
    assert {(entry.min, entry.opt, entry.max) for entry in made.inputs} == {
        ((1, 16), (8, 128), (32, 128))
    }


@pytest.mark.parametrize(
    ("inputs", "dims"),
    [
        (["x:1..8..32x3x5..7..9x5..7..9"], []),
        (["x:1..8..32x3xHxW"], ["H=5..7..9", "W=5..7..9"]),
        (["x:Bx3xSxS"], ["B=1..8..32", "S=5..7..9"]),
        ([], ["N=1..8..32", "H=5..7..9", "W=5..7..9"]),
        (["1..8..32x3x5..7..9x5..7..9"], ["N=1..8..32"]),
    ],
)
def test_equal_ways_to_say_the_same(inputs, dims):
    spec = Spec.parse(inputs, dims)
    assert profile.bindings(IMAGE, spec) == {
        "N": Range(1, 8, 32),
        "H": Range(5, 7, 9),
        "W": Range(5, 7, 9),
    }


def test_one_size_binds_min_opt_and_max():
    assert profile.bindings(IMAGE, Spec.parse(["x:4x3x8x8"]))["N"] == Range(4, 4, 4)


def test_expressions_follow_their_symbols():
    shapes = {"x": ("N", 3), "y": ("2*N", 3)}
    made = profile.from_spec(shapes, Spec.parse(dims=["N=1..2..4"]))
    assert made.inputs[1].max == (8, 3)
    with pytest.raises(UsageError, match=r"axis 0 of input 'y' is 2\*N, which is 2"):
        profile.from_spec(shapes, Spec.parse(["y:3..4..8x3"], ["N=1..2..4"]))


def test_default_fills_what_nothing_binds():
    made = profile.from_spec(TEXT, Spec.parse(dims=["batch=2"]), default=Range(1, 4, 8))
    assert made.inputs[0].min == (2, 1)
    assert profile.bindings(TEXT, Spec(), complete=False) == {}


@pytest.mark.parametrize(
    ("inputs", "dims", "message", "hint"),
    [
        ([], [], r"input 'x' has a dynamic axis 0, N \(and H, W\), without a range", "--dim N="),
        ([], ["N=1"], r"dynamic axis 2, H \(and W\)", "--dim H=1..8..32 --dim W=1..8..32"),
        (["x:1x4x5x5"], [], "axis 1 of input 'x' is 3 in the model, not 4", "dynamic"),
        (["x:1x1..3x5x5"], [], "axis 1 of input 'x' is 3 in the model", "dynamic"),
        (["x:1x3x5"], [], r"has 4 axes \(Nx3xHxW\), 3 were given", ""),
        (["y:1x3x5x5"], [], "no input named 'y'", "its inputs are x"),
        ([], ["Q=1..2"], "no dimension named Q", "its symbols are N, H, W"),
        (["x:Bx3x5x5"], [], "dimension B has no range", "--dim B=MIN..OPT..MAX"),
        (["x:1..2..3x3x5x5"], ["N=1..2..4"], "dimension N is bound to 1..2..4 by --dim N", "once"),
    ],
)
def test_what_cannot_be_carried_out_is_said(inputs, dims, message, hint):
    with pytest.raises(UsageError, match=message) as raised:
        profile.from_spec(IMAGE, Spec.parse(inputs, dims))
    assert hint in (raised.value.hint or "")


def test_one_symbol_in_two_inputs_has_one_range():
    with pytest.raises(UsageError, match="dimension batch is bound to"):
        profile.from_spec(TEXT, Spec.parse(["ids:1..4x8", "mask:1..5x8"]))


def test_points_hold_the_ends_and_repeat_by_seed():
    ranges = {"N": Range(1, 8, 32), "L": Range(16, 64, 128)}
    found = points.few(ranges, count=6, seed=3)
    assert found[:3] == [{"N": 1, "L": 16}, {"N": 8, "L": 64}, {"N": 32, "L": 128}]
    assert len({tuple(point.values()) for point in found}) == 6
    assert all(1 <= point["N"] <= 32 and 16 <= point["L"] <= 128 for point in found)
    assert found == points.few(ranges, count=6, seed=3)
    assert found[3:] != points.few(ranges, count=6, seed=4)[3:]


def test_points_are_no_more_than_the_range_holds():
    assert points.few({"N": Range(1, 1, 2)}, count=5) == [{"N": 1}, {"N": 2}]
