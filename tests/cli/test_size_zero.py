"""Size 0 is legal: a cache is empty at the first step of a decoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest
from typer.testing import CliRunner, Result

import tripoint
from tests.helpers.graphs import build
from tests.helpers.marks import installed
from tests.profiles.test_equations import session_of
from tripoint import api
from tripoint.cli import app
from tripoint.profiles import points, profile
from tripoint.shape_inference import constraints
from tripoint.shape_inference.constraints.evaluate import holds
from tripoint.spec import Range, Spec

CACHE = (
    "float[B,2,{},4] past, float[B,2,S,4] k",
    "a = Concat <axis = 2> (past, k); t = Transpose <perm = [0, 1, 3, 2]> (a); y = MatMul (k, t)",
)
DYNAMIC = (CACHE[0].format("P"), CACHE[1])
STATIC = (CACHE[0].format("0"), CACHE[1])
GIVEN = [*("--dim", "B=1..2..4"), *("--dim", "S=1..2..4")]
FROM_ZERO = [*GIVEN, "--dim", "P=0..2..4"]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    ir.save(build(*DYNAMIC).ir, "dynamic.onnx")
    ir.save(build(*STATIC).ir, "static.onnx")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_ranges_and_shapes_of_zero_are_read() -> None:
    assert Spec.parse((), ["P=0..4..8"]).dims == {"P": Range(0, 4, 8)}
    assert Spec.parse((), ["P=0"]).dims == {"P": Range(0, 0, 0)}
    assert Spec.parse(["x:0..4..8x3"]).inputs[0].dims == (Range(0, 4, 8), 3)
    (spec,) = Spec.several(min_shapes=["x:1x0"], opt_shapes=["x:1x4"], max_shapes=["x:2x8"])
    made = profile.from_spec({"x": ("N", "P")}, spec)
    assert (made.inputs[0].min, made.inputs[0].max) == ((1, 0), (2, 8))
    assert profile.from_spec({"x": (0, 3)}, Spec()).inputs[0].opt == (0, 3)


def test_points_hold_each_zero_beside_other_sizes() -> None:
    ranges = {"S": Range(1, 8, 16), "P": Range(0, 4, 8), "Q": Range(0, 2, 3)}
    for found in (points.few(ranges, 8), points.sweep(ranges)):
        assert {"S": 8, "P": 0, "Q": 2} in found
        assert {"S": 8, "P": 4, "Q": 0} in found


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("dynamic.onnx", FROM_ZERO),
        ("static.onnx", GIVEN),
        (
            "dynamic.onnx",
            [
                "--minShapes=past:1x2x0x4,k:1x2x1x4",
                "--optShapes=past:1x2x4x4,k:1x2x1x4",
                "--maxShapes=past:1x2x8x4,k:1x2x1x4",
            ],
        ),
    ],
)
@pytest.mark.parametrize("command", ["profile", "verify", "fix", "locate"])
def test_commands_take_it(
    cli: Callable[..., Result], command: str, file: str, options: list[str]
) -> None:
    if command == "locate" and options[0].startswith("--minShapes"):
        pytest.skip("locate takes no shapes in the spelling of trtexec")
    more = {"fix": ["--dry-run"], "locate": ["--against", file]}.get(command, [])
    result = cli(command, file, *more, *options)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("target", [installed])
@pytest.mark.parametrize(("file", "options"), [("dynamic.onnx", FROM_ZERO), ("static.onnx", GIVEN)])
def test_tensorrt_builds_it(
    cli: Callable[..., Result], target: str, file: str, options: list[str]
) -> None:
    del target
    result = cli("build", file, "-o", "p.plan", "-q", *options, "--format", "json")
    assert result.exit_code == 0, result.output
    ends = json.loads(result.stdout)["profile"]
    past = next(each for each in ends if each["name"] == "past")
    assert past["min"][2] == 0


def test_numbers_are_compared_where_a_cache_is_empty() -> None:
    model = build(*DYNAMIC)
    spec = Spec.parse((), ["B=1..2..4", "S=1..2..4", "P=0..2..4"])
    result = tripoint.verify(model, spec=spec)
    sizes = [point.shapes["past"][2] for point in result.points]
    assert 0 in sizes
    assert [leg.status for leg in result.legs if leg.name == "ONNX Runtime"] == ["ran"]
    assert any(point["P"] == 0 for point in api.sweep(model, spec))


REFUSED = {
    "gather": ("float[P,3] x | int64 i = {0}", "y = Gather (x, i)", 17, True),
    "last": ("float[P,3] x | int64 i = {-1}", "y = Gather (x, i)", 17, True),
    "topk": ("float[2,P] x | int64[1] k = {1}", "y, i = TopK (x, k)", 17, True),
    "argmax": ("float[2,P] x", "y = ArgMax <axis = 1> (x)", 17, True),
    "pool": ("float[1,2,P,4] x", "y = MaxPool <kernel_shape = [1, 1]> (x)", 17, True),
    "global-pool": ("float[1,2,P,4] x", "y = GlobalAveragePool (x)", 17, True),
    "conv": ("float[1,2,P,4] x, float[1,2,1,1] w_1", "y = Conv (x, w_1)", 17, True),
    "copied": ("float[P,2,4] x | int64[2] s = {0, -1}", "y = Reshape (x, s)", 17, True),
    "joined": ("float[P,2,4] x | int64[2] s = {-1, 8}", "y = Reshape (x, s)", 17, False),
    "batch": ("float[P,2,4,4] x, float[1,2,1,1] w_1", "y = Conv (x, w_1)", 17, False),
    "softmax": ("float[2,P] x", "y = Softmax (x)", 17, False),
    "sum": ("float[2,P] x | int64[1] a = {1}", "y = ReduceSum (x, a)", 17, False),
    "inner": ("float[2,P] x, float[P,3] z", "y = MatMul (x, z)", 17, False),
    "resize": ("float[1,2,P,4] x | float[4] s = {1, 1, 2, 2}", "y = Resize (x, , s)", 17, False),
    "split": ("float[P,4] x", "y, z = Split <axis = 0> (x)", 13, False),
    "ids": ("float[5,3] w_1, int64[P] x", "y = Gather (w_1, x)", 17, False),
}


@pytest.mark.parametrize("name", REFUSED)
def test_only_what_onnx_runtime_refuses_is_refused(name: str, tmp_path: Path) -> None:
    inputs, body, opset, refused = REFUSED[name]
    model = build(inputs, body, opset, outputs="y")
    session = session_of(model)
    found = constraints.collect(model.ir, {"P"})
    for size in (0, 1, 2):
        at = {"P": size}
        expected = all(bool(holds(each, at)) for each in found)
        assert ran(model, session, at) == expected, [each.text for each in found]
    path = tmp_path / "model.onnx"
    ir.save(model.ir, path)
    result = CliRunner().invoke(app, ["profile", str(path), "--dim", "P=0..2..4"])
    assert result.exit_code == (2 if refused else 0), result.output
    if refused:
        assert "P = 0: node 'y'" in result.stderr
        assert "next: for instance --dim P=1..2..4" in result.stderr


def ran(model: tripoint.model.Model, session: object, at: dict[str, int]) -> bool:
    from tests.helpers.graphs import feed

    try:
        session.run(None, dict(feed(model, **at)))  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - whatever it raises
        return False
    return True


def test_what_holds_from_1_on_is_said_only_where_0_is_asked_for() -> None:
    model = build(*REFUSED["gather"][:3], outputs="y")
    assert constraints.collect(model.ir) == ()
    assert [each.text for each in constraints.collect(model.ir, {"P"})] == ["P >= 1"]


@pytest.mark.parametrize("past", ["P", "0"])
def test_rewrites_are_proven_where_nothing_is_there(past: str) -> None:
    model = build(
        f"float[B,{past},2,4] x |"
        " int64 zero = {0}, int64 one = {1}, int64[1] u = {0}, int64[1] e = {8}",
        "s = Shape (x); b = Gather (s, zero); p = Gather (s, one); bu = Unsqueeze (b, u);"
        " pu = Unsqueeze (p, u); t = Concat <axis = 0> (bu, pu, e); a = Reshape (x, t);"
        " y = Softmax <axis = 2> (a)",
        outputs="float[Q,R,T] y",
    )
    spec = Spec.parse((), ["B=1..2..4", *(["P=0..2..4"] if past == "P" else [])])
    result = tripoint.fix(model, spec=spec, target="7.1")
    assert result.applied
    assert result.proven
    for size in (0, 2) if past == "P" else (0,):
        assert ran(result.model, session_of(result.model), {"B": 2, "P": size})
    if past == "P":
        points = [point for each in result.applied for point in each.proof.numeric.points]
        assert {0, 2, 4} <= {point["P"] for point in points}


@pytest.mark.parametrize(
    ("inputs", "op", "expected"),
    [
        ("float[3,P,4] x, float[1,8,4] w_w, float[1,8,2] w_r", "LSTM", ["P >= 1"]),
        ("float[P,3,4] x, float[1,8,4] w_w, float[1,8,2] w_r", "LSTM", []),
        ("float[3,P,4] x, float[1,6,4] w_w, float[1,6,2] w_r", "GRU", ["P >= 1"]),
        ("float[P,3,4] x, float[1,6,4] w_w, float[1,6,2] w_r", "GRU", ["P >= 1"]),
        ("float[3,P,4] x, float[1,2,4] w_w, float[1,2,2] w_r", "RNN", []),
    ],
)
def test_what_ends_the_process_is_never_tried(inputs: str, op: str, expected: list[str]) -> None:
    model = build(inputs, f"y = {op} <hidden_size = 2> (x, w_w, w_r)", 17)
    assert [each.text for each in constraints.collect(model.ir, {"P"})] == expected
    if not expected:
        assert ran(model, session_of(model), {"P": 0})


def test_triton_says_what_it_cannot_serve(cli: Callable[..., Result]) -> None:
    assert cli("triton", "export", "dynamic.onnx", "-o", "repo").exit_code == 0
    result = cli("triton", "export", "static.onnx", "-o", "repo2")
    assert result.exit_code == 2
    assert "'past': axis 2 has size 0" in result.stderr
