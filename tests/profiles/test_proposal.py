"""What ``tripoint profile`` proposes, and where its numbers come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest
from typer.testing import CliRunner, Result

import tripoint
from tests.cli.test_hostile_models import READABLE
from tests.helpers.graphs import build
from tests.helpers.marks import installed
from tests.helpers.paths import SNAPSHOTS
from tests.profiles.test_wrong_profiles import HALVES, PAIR, TEXT, WINDOWS
from tripoint import api
from tripoint.cli import app
from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.profiles.proposal import ProfileResult
from tripoint.shape_inference import shape_inputs
from tripoint.sources import ranges
from tripoint.spec import Range, Spec

RESIZE = (
    "float[1,3,H,W] x, int64[2] size | int64[2] front = {1, 3}",
    'all = Concat <axis = 0> (front, size); y = Resize <mode = "linear"> (x, , , all)',
)
SIZED = (
    "float[N,3,H,W] x, int64[2] size | int64[2] front = {0, 3}",
    "t = Concat <axis = 0> (front, size); y = Reshape (x, t)",
)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def proposed(model: Model, *dims: str, inputs: tuple[str, ...] = ()) -> ProfileResult:
    return tripoint.profile(model, specs=[Spec.parse(inputs, dims)])


def statuses(result: ProfileResult) -> set[str]:
    return {finding.status for each in result.examined for finding in each.findings}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ("float[N,3,H,W] x", {"N": "a batch", "H": "height or width", "W": "height or width"}),
        ("float[batch_size,3,224,224] x", {"batch_size": "a batch"}),
        ("int64[N,S] x", {"N": "a batch", "S": "length of a sequence"}),
        ("float[N,12,past,64] x", {"N": "a batch", "past": "length of a sequence"}),
        ("float[N,80,T] x", {"N": "a batch", "T": "length of a sequence"}),
        ("float[3,height,width] x", {"height": "height or width", "width": "height or width"}),
        ("float[length] x", {"length": "length of a sequence"}),
        ("float[2,Q,4,4] x", {"Q": "unknown meaning"}),
    ],
)
def test_symbols_are_taken_for_what_they_stand_for(inputs: str, expected: dict[str, str]) -> None:
    (found,) = proposed(build(inputs, "y = Identity (x)")).proposals
    assert found.sources.keys() == expected.keys()
    for symbol, what in expected.items():
        assert found.sources[symbol].startswith("default for")
        assert what in found.sources[symbol]


@pytest.mark.parametrize("graph", [TEXT, WINDOWS, HALVES, PAIR])
def test_a_proposal_satisfies_the_equations(graph: tuple[str, str]) -> None:
    result = proposed(build(*graph))
    assert statuses(result) <= {"holds", "partly"}
    assert result.spellings is not None


def test_a_proposal_is_moved_to_sizes_that_the_graph_takes() -> None:
    (found,) = proposed(build(*WINDOWS)).proposals
    assert found.ranges["H"] == Range(70, 224, 511 // 7 * 7)
    assert found.sources["H"] == (
        "default for height or width of an image (64..224..512), moved because H must be a "
        "multiple of 7"
    )


def test_what_is_given_stays_and_the_rest_follows() -> None:
    (found,) = proposed(build(*PAIR), "N=3..5..7").proposals
    assert found.ranges == {"N": Range(3, 5, 7), "M": Range(3, 5, 7)}
    assert found.sources["N"] == "given"
    assert "moved because N == M" in found.sources["M"]


def test_sizes_between_that_are_illegal_are_noted(cli: Callable[..., Result]) -> None:
    ir.save(build(*WINDOWS).ir, "model.onnx")
    result = cli("profile", "model.onnx", "--dim", "H=56..63..112", "--dim", "W=56")
    assert result.exit_code == 0
    assert "note: a profile cannot say that H must be a multiple of 7" in result.stdout
    assert "H = 57 lies in this one" in result.stdout
    assert "2 equations: 1 holds, 1 not for all sizes between min and max" in result.stdout


def test_recorded_ranges_come_back() -> None:
    model = build("float[N,3,H] x", "y = Relu (x)")
    ranges.record(model.ir, {"N": Range(2, 4, 8), "Q": Range(1, 1, 1)})
    (found,) = proposed(model).proposals
    assert found.ranges["N"] == Range(2, 4, 8)
    assert found.sources["N"] == "recorded by tripoint export"
    again = Model(ir.from_proto(ir.to_proto(model.ir)))
    assert ranges.recorded(again.ir, ["N"])["N"].max == 8


@pytest.mark.parametrize(
    ("text", "symbols", "expected"),
    [
        ("{s77: VR[1, 32]}", ["N"], {"N": (1, 32)}),
        ("{s77: VR[3, int_oo]}", ["s77"], {"s77": (3, None)}),
        ("{s77: VR[2, int_oo]}", ["s77"], {}),
        ("{s1: VR[0, 9], s2: VR[3, 4]}", ["s1", "s2"], {"s1": (1, 9), "s2": (3, 4)}),
        ("{s1: VR[0, 9], s2: VR[3, 4]}", ["N", "M"], {}),
        ("{s77: VR[0, int_oo]}", ["N"], {}),
        ("{N: VR[9, 3]}", ["N"], {}),
        ("nonsense", ["N"], {}),
    ],
)
def test_ranges_that_pytorch_recorded(
    text: str, symbols: list[str], expected: dict[str, tuple[int, int | None]]
) -> None:
    model = build("float[N] x", "y = Relu (x)").ir
    model.graph.metadata_props["pkg.torch.export.ExportedProgram.range_constraints"] = text
    found = ranges.recorded(model, symbols)
    assert {name: (each.min, each.max) for name, each in found.items()} == expected


@pytest.mark.parametrize("text", ["N", "N=-1..1", "=1", "N=1..2..x", "\x00", "N=5..1"])
def test_a_hostile_record_is_left_out(text: str) -> None:
    model = build("float[N] x", "y = Relu (x)").ir
    model.metadata_props[ranges.KEY] = text
    assert ranges.recorded(model, ["N"]) == {}


@pytest.mark.needs_torch
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_an_export_records_its_ranges(tmp_path: Path, examples: Path, exporter: str) -> None:
    exported = api.export(
        f"{examples / 'eca.py'}:model",
        tmp_path / "eca.onnx",
        spec=Spec.parse(["x:Nx3x5x5"], ["N=1..2..8"]),
        exporter=exporter,
    )
    (found,) = tripoint.profile(exported.model).proposals
    assert found.ranges == {"N": Range(1, 2, 8)}
    assert found.sources == {"N": "recorded by tripoint export"}


# Shape tensors


@pytest.mark.parametrize("target", ["10.1", installed])
@pytest.mark.parametrize("graph", [RESIZE, SIZED])
def test_shape_tensors_are_those_of_tensorrt(graph: tuple[str, str], target: str) -> None:
    model = build(*graph, outputs="float[A,B,C,D] y")
    table = tripoint.shapes(model, target=target)
    roles = {name: table.by_name[name].role for name in table.inputs}
    assert roles == {"x": "execution", "size": "shape"}
    assert shape_inputs.find(model.ir) == {"size": ("size_value0", "size_value1")}


def test_names_of_values_are_never_those_of_dims() -> None:
    model = build("float[size_value0] x, int64[1] size", "y = Reshape (x, size)")
    assert shape_inputs.find(model.ir) == {"size": ("size_value_0",)}
    scalar = build(
        "float[1,N] x, int64 k | int64 zero = {0}, int64 one = {1}",
        "y = Range (zero, k, one)",
        outputs="int64[M] y",
    )
    assert shape_inputs.find(scalar.ir) == {"k": ("k_value",)}


def test_ids_are_no_shape_tensor() -> None:
    model = build("int64[N,S] x, float[9,2] w_1", "y = Gather (w_1, x)")
    assert shape_inputs.find(model.ir) == {}


@pytest.mark.parametrize(
    "text", ["size=[64,64]..[64,96]..[128,128]", "size:64..64..128x64..96..128"]
)
def test_shape_tensors_are_given_by_value(text: str) -> None:
    result = proposed(build(*RESIZE, outputs="float[A,B,C,D] y"), inputs=(text,))
    size = result.proposals[0].profile.inputs[1]
    assert (size.name, size.min, size.opt, size.max) == ("size", (64, 64), (64, 96), (128, 128))
    assert size.values
    assert not result.proposals[0].profile.inputs[0].values


def test_shape_tensors_are_asked_for_by_value() -> None:
    with pytest.raises(UsageError, match="its 2 values, not its dims"):
        proposed(build(*RESIZE, outputs="float[A,B,C,D] y"))


def test_values_take_part_in_the_equations() -> None:
    model = build(*SIZED, outputs="float[A,B,C,D] y")
    right = proposed(model, "H=8..16..32", "W=8..16..32", inputs=("size=[8,8]..[16,16]..[32,32]",))
    assert statuses(right) == {"partly"}
    wrong = proposed(model, "H=8..16..32", "W=9..16..32", inputs=("size=[8,8]..[16,16]..[32,32]",))
    assert statuses(wrong) == {"violated"}
    assert wrong.spellings is None


def test_values_that_mean_something_else_decide_nothing() -> None:
    model = build(*SIZED, outputs="float[A,B,C,D] y")
    result = proposed(model, "H=8", "W=8", inputs=("size=[-1,8]",))
    assert statuses(result) == {"undecided"}


def test_values_are_fed_where_numbers_are_compared() -> None:
    model = build(*SIZED, outputs="float[A,B,C,D] y")
    spec = Spec.parse(["size=[8,8]..[8,16]..[32,32]"], ["N=1..2..4", "H=8..8..32", "W=8..16..32"])
    result = tripoint.verify(model, spec=spec)
    assert len(result.points) >= 3
    assert [leg.status for leg in result.legs if leg.name == "ONNX Runtime"] == ["ran"]
    assert tripoint.fix(model, spec=spec, target="8.6").proven
    assert tripoint.locate(model, fixed=model, spec=spec).verdict == "equal"


def test_random_points_are_sizes_that_the_graph_takes() -> None:
    spec = Spec.parse((), ["H=7..56..112", "W=7..14..21"])
    found = api.sweep(build(*WINDOWS), spec)
    assert len({tuple(point.values()) for point in found}) == 4
    assert all(point["H"] % 7 == 0 and point["W"] % 7 == 0 for point in found)


# What is undecided


def test_what_values_decide_is_said_and_counted(cli: Callable[..., Result]) -> None:
    model = build(
        "float[N,4] x",
        "i = NonZero (x); f = Cast <to = 1> (i); y = Concat <axis = 1> (f, f); z = Add (y, y)",
        outputs="y",
    )
    assert proposed(model).needed.equations == ()
    two = build(
        "float[N,4] x, float[N,4] v",
        "i = NonZero (x); j = NonZero (v); y = Add (i, j)",
        outputs="int64[A,B] y",
    )
    ir.save(two.ir, "two.onnx")
    result = cli("profile", "two.onnx", "--dim", "N=4")
    assert result.exit_code == 0
    assert "1 equation: 1 not decided" in result.stdout
    assert "not decided: node 'y'" in result.stdout


def test_a_branch_that_may_not_run_decides_nothing() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[N,3] x, bool c) => (float[M,3] y) <float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}>
    { y = If (c) <
        then_branch = a () => (float[P,3] p) { p = Concat <axis = 1> (x, w) },
        else_branch = b () => (float[Q,3] q) { q = Identity (x) }
      > }"""
    model = Model(ir.from_onnx_text(text))
    assert [each.decided for each in proposed(model).needed.equations] == [False]


# The command


@pytest.mark.parametrize("output_format", ["text", "json"])
def test_snapshots(cli: Callable[..., Result], output_format: str) -> None:
    model = build(*WINDOWS)
    for node in model.ir.graph:
        if node.op_type == "Reshape":
            node.metadata_props["pkg.torch.onnx.stack_trace"] = 'File "swin.py", line 7, in split'
    ir.save(model.ir, "windows.onnx")
    arguments = ["--profile", "H=56 W=56", "--profile", "H=56..112..224 W=56..112..224"]
    result = cli("profile", "windows.onnx", *arguments, "--format", output_format)
    assert result.exit_code == 0, result.output
    shown = result.stdout
    if output_format == "json":
        document = json.loads(shown)
        del document["environment"], document["tool"], document["model"]["sha256"]
        assert {"profile", "equations", "spellings"} < document.keys()
        assert set(document["spellings"]) > {
            "trtexec",
            "polygraphy",
            "onnxruntime",
            "torch_tensorrt",
        }
        assert {"kind", "text", "node", "op", "source", "status"} < set(document["equations"][0])
        shown = json.dumps(document, indent=1) + "\n"
    path = SNAPSHOTS / f"profile.{output_format}"
    if not path.exists():
        path.write_text(shown, encoding="utf-8")
        pytest.fail(f"{path.name} was missing and has been written; read it and run again")
    assert shown == path.read_text(encoding="utf-8")


def test_a_static_model_needs_no_profile(cli: Callable[..., Result]) -> None:
    ir.save(build("float[1,3] x", "y = Relu (x)").ir, "static.onnx")
    result = cli("profile", "static.onnx")
    assert result.exit_code == 0
    assert "the engine needs no profile" in result.stdout


def test_names_of_a_model_do_not_steer_the_terminal(cli: Callable[..., Result]) -> None:
    model = build("float[N,3] x", "y = Relu (x)")
    model.ir.graph.inputs[0].name = "x\x1b[31m\n\u202e"
    ir.save(model.ir, "odd.onnx")
    result = cli("profile", "odd.onnx")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "\\x1b[31m\\n\\u202e" in result.stdout


@pytest.mark.parametrize("case", READABLE)
def test_odd_models_give_a_profile_or_a_message(
    cli: Callable[..., Result], case: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(READABLE[case]().SerializeToString())
    result = cli("profile", path)
    assert result.exit_code in (0, 2), result.output
    assert "tripoint broke" not in result.stderr


@pytest.mark.parametrize("command", ["verify", "fix", "run"])
def test_trtexec_options_are_read_by_commands_for_one_profile(
    cli: Callable[..., Result], command: str
) -> None:
    ir.save(build(*TEXT).ir, "text.onnx")
    more = {"verify": [], "fix": ["--dry-run"], "run": ["-o", "out"]}[command]
    wrong = cli(command, "text.onnx", *more, "--minShapes=x:1x8", "--maxShapes=x:2x600")
    assert wrong.exit_code == 2
    assert "S <= 512" in wrong.stderr
    twice = ["--minShapes=x:1x8", "--maxShapes=x:2x9"] * 2
    assert (
        "2 profiles are given, and this command takes one"
        in cli(command, "text.onnx", *more, *twice).stderr
    )


def test_trtexec_options_make_the_same_points(cli: Callable[..., Result]) -> None:
    ir.save(build(*TEXT).ir, "text.onnx")
    arguments = [
        "--minShapes=x:1x8",
        "--optShapes=x:2x16",
        "--maxShapes=x:4x32",
        "--format",
        "json",
    ]
    document = json.loads(cli("verify", "text.onnx", "-q", *arguments).stdout)
    assert [point["shapes"]["x"] for point in document["points"][:3]] == [[1, 8], [2, 16], [4, 32]]
