"""Wrong profiles get their message before anything is built."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import build
from tripoint.cli import app
from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.profiles.constraints import profiles
from tripoint.profiles.profile import InputProfile, Profile
from tripoint.trt import process

IMAGE = "float[N,3,H,W] x, float[4,3,3,3] w_1"
TEXT = (
    "float[N,S] x, float[512,2] w_table | int64 zero = {0}, int64 one = {1}",
    "s = Shape (x); n = Gather (s, one); r = Range (zero, n, one); y = Gather (w_table, r)",
)
WINDOWS = (
    "float[1,H,W,2] x | int64[1] w = {7}, int64[1] c = {2}, int64[1] one = {1},"
    " int64[1] two = {2}, int64[1] three = {3}",
    "s = Shape (x); h = Slice (s, one, two); v = Slice (s, two, three); hn = Div (h, w);"
    " vn = Div (v, w); t = Concat <axis = 0> (one, hn, w, vn, w, c); y = Reshape (x, t)",
)
HALVES = (
    "float[1,1,H,8] x | float[4] sc = {1, 1, 2, 2}",
    "a = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x); b = Resize (a, , sc);"
    " y = Concat <axis = 1> (x, b)",
)
PAIR = ("float[N,3] x, float[M,3] z", "y = Concat <axis = 1> (x, z)")

# Graph, options, then the equation, the node and the nearest sizes that the message names.
WRONG: dict[str, tuple[tuple[str, str], list[str], str, str, str]] = {
    "conv-min": (
        (IMAGE, "y = Conv (x, w_1)"),
        ["--dim", "N=1", "--dim", "H=2..8..16", "--dim", "W=8"],
        "H >= 3",
        "y",
        "H = 3",
    ),
    "conv-all": (
        (IMAGE, "y = Conv (x, w_1)"),
        ["--input", "x:1x3x8x1"],
        "W >= 3",
        "y",
        "W = 3",
    ),
    "second-conv": (
        (
            "float[N,1,H,9] x, float[1,1,3,3] w_1",
            "a = Conv <strides = [2, 2]> (x, w_1); y = Conv <strides = [2, 2]> (a, w_1)",
        ),
        ["--dim", "N=1..2..4", "--dim", "H=5..20..40"],
        "floor(H/2 + 1/2) >= 4, so H must be at least 7",
        "y",
        "H = 7",
    ),
    "pool": (
        ("float[1,1,H,9] x", "y = AveragePool <kernel_shape = [5, 5]> (x)"),
        ["--dim", "H=4..4..9"],
        "H >= 5",
        "y",
        "H = 5",
    ),
    "positions-max": (
        TEXT,
        ["--dim", "N=1..4..8", "--dim", "S=16..128..600"],
        "S <= 512",
        "y",
        "S = 512",
    ),
    "positions-by-trtexec": (
        TEXT,
        ["--minShapes=x:1x16", "--optShapes=x:1x512", "--maxShapes=x:1x513"],
        "S <= 512",
        "y",
        "S = 512",
    ),
    "window-opt": (
        WINDOWS,
        ["--dim", "H=56..60..112", "--dim", "W=56"],
        "H % 7 == 0",
        "y",
        "H = 56 or 63",
    ),
    "window-min": (
        WINDOWS,
        ["--input", "x:[1,224,220..224..448,2]"],
        "W % 7 == 0",
        "y",
        "W = 217 or 224",
    ),
    "skip": (
        HALVES,
        ["--dim", "H=2..33..64"],
        "H % 2 == 0",
        "y",
        "H = 32 or 34",
    ),
    "unshuffle": (
        ("float[N,1,H,8] x", "y = SpaceToDepth <blocksize = 4> (x)"),
        ["--dim", "N=1", "--dim", "H=4..8..30"],
        "H % 4 == 0",
        "y",
        "H = 28 or 32",
    ),
    "shuffle": (
        ("float[1,C,2,2] x", "y = DepthToSpace <blocksize = 2> (x)"),
        ["--dim", "C=6"],
        "C % 4 == 0",
        "y",
        "C = 4 or 8",
    ),
    "concat": (
        PAIR,
        ["--dim", "N=1..4..8", "--dim", "M=1..4..9"],
        "N == M",
        "y",
        "M = 8, or N = 9",
    ),
    "broadcast": (
        ("float[N,3] x, float[M,3] z", "y = Add (x, z)"),
        ["--dim", "N=2..4..8", "--dim", "M=2..3..8"],
        "N == M or N == 1 or M == 1",
        "y",
        "M = 4, or N = 3",
    ),
    "broadcast-constant": (
        ("float[N,3] x | float[4,1] w = {1, 2, 3, 4}", "y = Mul (x, w)"),
        ["--dim", "N=1..4..8"],
        "N == 4 or N == 1",
        "y",
        "N = 4",
    ),
    "matmul": (
        ("float[N,K] x, float[16,2] w_1", "y = MatMul (x, w_1)"),
        ["--dim", "N=1", "--dim", "K=12"],
        "K == 16",
        "y",
        "K = 16",
    ),
    "gemm": (
        ("float[N,K] x, float[2,16] w_1", "y = Gemm <transB = 1> (x, w_1)"),
        ["--dim", "N=1", "--dim", "K=15..16..17"],
        "K == 16",
        "y",
        "K = 16",
    ),
    "volume": (
        ("float[N,H] x | int64[2] s = {3, 8}", "y = Reshape (x, s)"),
        ["--dim", "N=2", "--dim", "H=10"],
        "H*N == 24",
        "y",
        "H = 12",
    ),
    "minus-one": (
        ("float[N,S,6] x | int64[4] s = {0, -1, 4, 6}", "y = Reshape (x, s)"),
        ["--dim", "N=1..2..4", "--dim", "S=4..8..15"],
        "S % 4 == 0",
        "y",
        "S = 12 or 16",
    ),
    "split": (
        ("float[N] x | int64[2] s = {2, 3}", "y, z = Split <axis = 0> (x, s)"),
        ["--dim", "N=4..5..5"],
        "N == 5",
        "y",
        "N = 5",
    ),
    "squeeze": (
        ("float[N,2] x | int64[1] a = {0}", "y = Squeeze (x, a)"),
        ["--dim", "N=1..2..4"],
        "N == 1",
        "y",
        "N = 1",
    ),
    "topk": (
        ("float[1,H] x | int64[1] k = {100}", "y, i = TopK (x, k)"),
        ["--dim", "H=50..200..300"],
        "H >= 100",
        "y",
        "H = 100",
    ),
    "shape-tensor": (
        (
            "float[N,4] x, int64[1] size | int64[1] m = {-1}",
            "t = Concat <axis = 0> (m, size); y = Reshape (x, t)",
        ),
        ["--dim", "N=3", "--input", "size=[4]..[6]..[7]"],
        "(4*N) % size_value0 == 0",
        "y",
        "N = 7, or size_value0 = 6 or 12",
    ),
}


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*_: object, **__: object) -> None:
        raise AssertionError("a child process was started")

    monkeypatch.setattr(process, "call", call)
    monkeypatch.setattr(process, "prepare", call)


def saved(graph: tuple[str, str], folder: Path) -> Path:
    path = folder / "model.onnx"
    ir.save(build(*graph).ir, path)
    return path


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("command", ["build", "profile"])
def test_the_equation_the_node_and_the_nearest_sizes_are_named(
    name: str, command: str, tmp_path: Path
) -> None:
    graph, arguments, equation, node, nearest = WRONG[name]
    path = saved(graph, tmp_path)
    result = CliRunner().invoke(app, [command, str(path), *arguments])
    assert result.exit_code == 2, result.output
    assert f"needs {equation}; nearest {nearest}; " in result.stderr
    assert re.search(rf"node '{re.escape(node)}' \(\w+\)", result.stderr)
    assert "  next: " in result.stderr
    assert list(tmp_path.iterdir()) == [path]


def followed(arguments: list[str], said: str) -> list[str]:
    """The options of a command with those of a hint in place of what they are about."""
    new = shlex.split(said.split("next: for instance ")[1].splitlines()[0])
    options = [
        f"{new[i]} {new[i + 1]}" if new[i] in ("--dim", "--input", "--profile") else new[i]
        for i in range(len(new))
        if new[i].startswith("--")
    ]
    old = [
        f"{arguments[i]} {arguments[i + 1]}" if "Shapes" not in arguments[i] else arguments[i]
        for i in range(len(arguments))
        if arguments[i].startswith("--")
    ]

    def about(option: str) -> str:
        return re.split("[=:]", option, maxsplit=1)[0]

    kept = [option for option in old if about(option) not in map(about, options)]
    return [word for option in (*kept, *options) for word in option.split(" ", 1)]


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize("name", WRONG)
def test_the_hint_is_a_profile_that_the_graph_takes(name: str, tmp_path: Path) -> None:
    graph, arguments, *_ = WRONG[name]
    path = saved(graph, tmp_path)
    wrong = CliRunner().invoke(app, ["build", str(path), *arguments])
    right = CliRunner().invoke(app, ["profile", str(path), *followed(arguments, wrong.stderr)])
    assert right.exit_code == 0, (wrong.stderr, right.output)


def test_there_are_twenty() -> None:
    assert len(WRONG) >= 20


UNCLEAR: dict[str, tuple[tuple[str, str], list[str], str, str]] = {
    "order": (PAIR, ["--dim", "N=8..4..2"], "--dim N=8..4..2: range 8..4..2", "min <= opt <= max"),
    "order-on-an-axis": (
        PAIR,
        ["--input", "x:8..4..2x3"],
        "axis 0 of input 'x:8..4..2x3'",
        "8..4..2",
    ),
    "order-by-trtexec": (
        PAIR,
        ["--minShapes=x:4x3,z:1x3", "--optShapes=x:2x3,z:1x3", "--maxShapes=x:8x3,z:8x3"],
        "axis 0 of input 'x'",
        "4..2..8",
    ),
    "missing-input": (
        PAIR,
        ["--input", "x:1..2..4x3"],
        "input 'z' has a dynamic axis 0, M",
        "--dim M=",
    ),
    "missing-by-trtexec": (
        PAIR,
        ["--minShapes=x:1x3,z:1x3", "--maxShapes=x:8x3"],
        "--maxShapes has no shape for input 'z'",
        "",
    ),
    "unknown-input": (PAIR, ["--input", "q:1x3"], "no input named 'q'", "its inputs are x, z"),
    "unknown-symbol": (PAIR, ["--dim", "Q=1"], "no dimension named Q", "its symbols are N, M"),
    "static": (
        PAIR,
        ["--input", "x:1x4"],
        "axis 1 of input 'x' is 3 in the model, not 4",
        "dynamic",
    ),
    "rank": (PAIR, ["--input", "x:1x3x1"], "has 2 axes (Nx3), 3 were given", ""),
    "negative": (PAIR, ["--minShapes=x:-1x3", "--maxShapes=x:1x3"], "'-1'", ""),
    "values-of-data": (PAIR, ["--input", "x=[1,3]"], "input 'x' is no shape tensor", "Nx3"),
    "values-missing": (
        ("float[N] x, int64[2] size", "y = Reshape (x, size)"),
        ["--dim", "N=4"],
        "input 'size' is a shape tensor",
        "--input 'size=[1,1]..[1,1]..[1,1]'",
    ),
    "number-of-values": (
        ("float[N] x, int64[2] size", "y = Reshape (x, size)"),
        ["--dim", "N=4", "--input", "size:1x2x3"],
        "shape tensor of 2 values, 3 were given",
        "",
    ),
    "two-ranges": (
        ("float[N,3] x, float[N,3] z", "y = Add (x, z)"),
        ["--input", "x:1..2..4x3", "--input", "z:1..2..8x3"],
        "dimension N is bound to 1..2..4",
        "once",
    ),
}


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize("name", UNCLEAR)
def test_what_cannot_be_carried_out_is_said(name: str, tmp_path: Path) -> None:
    graph, arguments, message, more = UNCLEAR[name]
    result = CliRunner().invoke(app, ["build", str(saved(graph, tmp_path)), *arguments])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert more in result.stderr


def given(**shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]) -> Profile:
    return Profile(tuple(InputProfile(name, *ends) for name, ends in shapes.items()))


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (given(x=((1, 3), (2, 3), (4, 3))), "the profile says nothing of input 'z'"),
        (given(xx=((1, 3),) * 3), "names an input 'xx'"),
        (given(x=((1, 3),) * 3, z=((4, 3), (2, 3), (4, 3))), "4..2..4 does not satisfy"),
        (given(x=((1, 3),) * 3, z=((-1, 3), (2, 3), (4, 3))), "-1..2..4 does not satisfy 0 <="),
        (given(x=((1, 3),) * 3, z=((1, 4),) * 3), "axis 1 of input 'z' is 3 in the model, not 4"),
        (given(x=((1, 3),) * 3, z=((1,),) * 3), "has 2 axes, its profile 1"),
        (given(x=((1, 3),) * 3, z=((1, 3), (1,), (1, 3))), "not the same rank"),
    ],
)
def test_profiles_made_by_hand_are_examined(profile: Profile, message: str) -> None:
    needed = profiles.needs(build(*PAIR))
    with pytest.raises(UsageError, match=re.escape(message)):
        profiles.examine(needed, [profile])


def test_the_source_line_is_named() -> None:
    model = build(*TEXT)
    gather = next(node for node in model.ir.graph if node.outputs[0].name == "y")
    gather.metadata_props["pkg.torch.onnx.stack_trace"] = (
        'File "encoder.py", line 31, in forward\n    return self.table(positions)'
    )
    with pytest.raises(UsageError, match=r"node 'y' \(Gather, encoder\.py:31\) needs S <= 512"):
        tripoint.build(model, "never.plan", spec=spec("N=1", "S=600"))


def test_the_next_step_is_a_profile_that_works(tmp_path: Path) -> None:
    path = saved(WINDOWS, tmp_path)
    wrong = CliRunner().invoke(
        app, ["profile", str(path), "--dim", "H=56..60..112", "--dim", "W=56"]
    )
    hint = wrong.stderr.split("next: for instance ")[1].split()
    assert hint[0] == "--dim"
    right = CliRunner().invoke(app, ["profile", str(path), *hint, "--dim", "W=56"])
    assert right.exit_code == 0, right.output


def spec(*dims: str) -> tripoint.spec.Spec:
    from tripoint.spec import Spec

    return Spec.parse((), dims)


def test_several_profiles_are_told_apart() -> None:
    from tripoint.spec import Spec

    specs = Spec.several((), (), ["N=1 S=1..64..128", "N=1..4..8 S=64..600..700"])
    with pytest.raises(UsageError, match=r"profile 1: at opt S = 600: .* needs S <= 512"):
        profiles.checked(build(*TEXT), specs)


def test_a_model_that_is_static_needs_none() -> None:
    model: Model = build("float[1,3] x", "y = Relu (x)")
    assert profiles.needs(model).equations == ()
    assert profiles.checked(model, []) == ()
