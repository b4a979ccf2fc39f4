"""``tripoint triton export``: what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from typer.testing import CliRunner

from tests.helpers.marks import RTX, needs_rtx
from tests.helpers.paths import SNAPSHOTS
from tests.helpers.triton_repository import (
    MODEL,
    ONE_TO_EIGHT,
    Shape,
    X,
    Y,
    entry,
    save_model,
    save_plan,
    tensor,
    values,
)
from tripoint import api, triton
from tripoint.cli import app
from tripoint.errors import InputError, OutputError, UsageError
from tripoint.spec import Spec
from tripoint.triton.schema import messages as published

TWO = """<ir_version: 8, opset_import: ["": 13]>
net (float[N,4] x, int64[N] n, float[2,W] z) => (float[N,4] second, float[N] first, float[2,W] w)
{ one = Constant <value_ints = [1]> ()
  second = Relu (x) sum = ReduceSum <keepdims = 0> (x, one) last = Cast <to = 1> (n)
  first = Add (sum, last) w = Relu (z) }"""
BATCHED = """<ir_version: 8, opset_import: ["": 13]>
net (float[N,4] x, int64[N] n) => (float[N,4] second, float[N] first)
{ one = Constant <value_ints = [1]> ()
  second = Relu (x) sum = ReduceSum <keepdims = 0> (x, one) last = Cast <to = 1> (n)
  first = Add (sum, last) }"""


def parsed(result: triton.Exported):
    """The configuration as Triton's own schema reads it."""
    written = (result.repository / result.name / "config.pbtxt").read_text()
    assert written == result.config
    return text_format.Parse(written, published().ModelConfig())


def reshaped(field) -> list[int] | None:
    return list(field.reshape.shape) if field.HasField("reshape") else None


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return save_plan(tmp_path / "net.plan", model=save_model(tmp_path / "net.onnx"))


# --- plans that TensorRT built ---------------------------------------------------------------


@needs_rtx
def test_a_built_plan(tmp_path: Path):
    save_model(tmp_path / "two.onnx", TWO)
    spec = Spec.parse(dims=["N=1..2..4", "W=1..5..9"])
    api.build(tmp_path / "two.onnx", tmp_path / "two.plan", spec=spec, tensorrt=RTX)
    result = triton.export(tmp_path / "two.plan", tmp_path / "repo")
    config = parsed(result)
    assert (config.name, config.platform, config.backend) == ("two", "tensorrt_plan", "tensorrt")
    assert config.max_batch_size == 0
    assert "axis 0 of input 'z' is always 2" in result.batching.reason
    assert [(i.name, list(i.dims), reshaped(i)) for i in config.input] == [
        ("x", [-1, 4], None),
        ("n", [-1], None),
        ("z", [2, -1], None),
    ]
    assert [(o.name, list(o.dims)) for o in config.output] == [
        ("second", [-1, 4]),
        ("first", [-1]),
        ("w", [2, -1]),
    ]
    assert config.input[1].data_type == published().TYPE_INT64
    assert "TensorRT-RTX" in result.warnings[0]
    folder = tmp_path / "repo" / "two"
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*")) == [
        "1",
        "1/model.manifest.json",
        "1/model.plan",
        "config.pbtxt",
    ]
    assert (folder / "1/model.plan").read_bytes() == (tmp_path / "two.plan").read_bytes()
    names = {finding.name for finding in triton.check(tmp_path / "repo").findings}
    assert names == {"rtx-plan"}


@needs_rtx
def test_a_built_plan_that_batches(tmp_path: Path):
    save_model(tmp_path / "b.onnx", BATCHED)
    spec = Spec.parse(dims=["N=1..2..4"])
    api.build(tmp_path / "b.onnx", tmp_path / "b.plan", spec=spec, tensorrt=RTX)
    config = parsed(triton.export(tmp_path / "b.plan", tmp_path / "repo", dynamic_batching=True))
    assert config.max_batch_size == 4
    assert config.HasField("dynamic_batching")
    assert [(i.name, list(i.dims), reshaped(i)) for i in config.input] == [
        ("x", [4], None),
        ("n", [1], []),
    ]
    assert [(o.name, list(o.dims), reshaped(o)) for o in config.output] == [
        ("second", [4], None),
        ("first", [1], []),
    ]


# --- batching --------------------------------------------------------------------------------


def test_batching_needs_one_symbol_everywhere(plan: Path, tmp_path: Path):
    result = triton.export(plan, tmp_path / "repo")
    config = parsed(result)
    assert config.max_batch_size == 8
    assert list(config.input[0].dims) == [3, 8, 8]
    assert result.batching.reason == (
        "axis 0 of every input and output is N, at most 8 by the profile"
    )
    assert not config.HasField("dynamic_batching")
    assert not config.instance_group
    assert not config.HasField("version_policy")


DOUBLED = MODEL.replace("float[N,3] y", "float[M,3] y").replace(
    "y = Flatten (mean)", "one = Flatten (mean) y = Concat <axis = 0> (one, one)"
)


def test_an_axis_that_varies_otherwise_is_no_batch(tmp_path: Path):
    path = save_plan(tmp_path / "net.plan", model=save_model(tmp_path / "net.onnx", DOUBLED))
    result = triton.export(path, tmp_path / "repo")
    assert parsed(result).max_batch_size == 0
    assert result.batching.reason == "no batching: axis 0 of 'y' is 2*N, that of 'x' is N"
    with pytest.raises(UsageError, match=r"--max-batch-size 4: axis 0 of 'y' is 2\*N"):
        triton.export(path, tmp_path / "other", max_batch_size=4)


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ([tensor("x", [1, 3, 8, 8])], [Y], "axis 0 of input 'x' is always 1"),
        ([X], [tensor("y", [2, 3])], "axis 0 of output 'y' is always 2"),
        ([X], [tensor("y", [-1, 3]), tensor("z", [4])], "axis 0 of output 'z' is always 4"),
        ([X, tensor("n", [4], "int64")], [Y], "is a shape tensor"),
        ([], [Y], "the model has no input"),
    ],
)
def test_no_batching_with_the_reason(tmp_path: Path, inputs, outputs, reason: str):
    by_value = [values("n", [1, 3, 8, 8], [8, 3, 8, 8])]
    profiles = None if inputs == [X] else [by_value] if len(inputs) == 2 else []
    path = save_plan(tmp_path / "net.plan", inputs, outputs, profiles)
    result = triton.export(path, tmp_path / "repo")
    assert reason in result.batching.reason
    config = parsed(result)
    assert config.max_batch_size == 0
    assert [len(each.dims) for each in config.output] == [len(each["shape"]) for each in outputs]
    with pytest.raises(UsageError, match="--max-batch-size 2"):
        triton.export(path, tmp_path / "repo", max_batch_size=2, force=True)


def test_without_the_model_the_batch_is_not_guessed(plan: Path, tmp_path: Path):
    (tmp_path / "net.onnx").rename(tmp_path / "other.onnx")
    result = triton.export(plan, tmp_path / "repo")
    assert parsed(result).max_batch_size == 0
    assert "net.onnx: no such file" in result.batching.reason
    assert list(parsed(result).input[0].dims) == [-1, 3, 8, 8]
    told = triton.export(plan, tmp_path / "told", max_batch_size=4)
    assert parsed(told).max_batch_size == 4
    assert "not proven" in told.batching.reason
    given = triton.export(plan, tmp_path / "given", model=tmp_path / "other.onnx")
    assert parsed(given).max_batch_size == 8


def test_another_model_of_the_same_name_proves_nothing(plan: Path, tmp_path: Path):
    save_model(tmp_path / "net.onnx", DOUBLED)
    result = triton.export(plan, tmp_path / "repo")
    assert result.batching.max_batch_size == 0
    assert "built from another model" in result.batching.reason
    with pytest.raises(InputError, match="built from another model"):
        triton.export(plan, tmp_path / "given", model=tmp_path / "net.onnx")


def test_max_batch_size_as_asked_for(plan: Path, tmp_path: Path):
    assert parsed(triton.export(plan, tmp_path / "a", max_batch_size=8)).max_batch_size == 8
    none = parsed(triton.export(plan, tmp_path / "b", max_batch_size=0))
    assert (none.max_batch_size, list(none.input[0].dims)) == (0, [-1, 3, 8, 8])
    with pytest.raises(UsageError, match="take at most 8"):
        triton.export(plan, tmp_path / "c", max_batch_size=9)
    with pytest.raises(UsageError, match="nothing to batch"):
        triton.export(plan, tmp_path / "d", max_batch_size=0, dynamic_batching=True)
    assert not (tmp_path / "c").exists()


def test_profiles(tmp_path: Path):
    """All in one group: an instance picks the profile, and any instance may get a request."""
    two = [
        [entry("x", [2, 3, 8, 8], [4, 3, 8, 8])],
        [entry("x", [5, 3, 8, 8], [16, 3, 8, 16])],
    ]
    model = save_model(tmp_path / "net.onnx", MODEL.replace("3,8,8]", "3,8,W]"))
    path = save_plan(tmp_path / "net.plan", [tensor("x", [-1, 3, -1, -1])], None, two, model=model)
    result = triton.export(path, tmp_path / "repo")
    config = parsed(result)
    assert config.max_batch_size == 16
    # The one axis that both profiles hold at one size has it, the other varies.
    assert list(config.input[0].dims) == [3, 8, -1]
    assert [list(group.profile) for group in config.instance_group] == [["0", "1"]]
    assert config.instance_group[0].kind == published().ModelInstanceGroup.KIND_GPU
    assert result.warnings == ("a batch of fewer than 2 rows is refused: no profile goes below",)


# --- tensors ---------------------------------------------------------------------------------

TYPES = [
    ("float32", "TYPE_FP32"),
    ("float16", "TYPE_FP16"),
    ("bfloat16", "TYPE_BF16"),
    ("int8", "TYPE_INT8"),
    ("uint8", "TYPE_UINT8"),
    ("int32", "TYPE_INT32"),
    ("int64", "TYPE_INT64"),
    ("bool", "TYPE_BOOL"),
]


@pytest.mark.parametrize(("dtype", "name"), TYPES)
def test_data_types(tmp_path: Path, dtype: str, name: str):
    path = save_plan(tmp_path / "net.plan", [tensor("x", [2], dtype)], [Y], [])
    config = parsed(triton.export(path, tmp_path / "repo"))
    assert config.input[0].data_type == getattr(published(), name)


@pytest.mark.parametrize("dtype", ["float64", "float8e4m3fn", "int4", None])
def test_data_types_that_triton_lacks(tmp_path: Path, dtype: str | None):
    path = save_plan(tmp_path / "net.plan", [tensor("x", [2], dtype)], [Y], [])
    with pytest.raises(InputError, match="cannot serve 'x': it has element type"):
        triton.export(path, tmp_path / "repo")
    assert not (tmp_path / "repo").exists()


def test_a_shape_tensor_is_marked(tmp_path: Path):
    inputs = [X, tensor("sizes", [2], "int64")]
    profiles = [[*ONE_TO_EIGHT[0], values("sizes", [1, 1], [9, 9])]]
    config = parsed(triton.export(save_plan(tmp_path / "n.plan", inputs, [Y], profiles), tmp_path))
    assert [each.is_shape_tensor for each in config.input] == [False, True]
    assert list(config.input[1].dims) == [2]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [([], "it is a scalar"), (None, "its rank is not known"), ([2, 0], "axis 1 has size 0")],
)
def test_shapes_that_triton_does_not_serve(tmp_path: Path, shape: Shape | None, reason: str):
    path = save_plan(tmp_path / "net.plan", [X], [tensor("y", shape)])
    with pytest.raises(InputError, match=f"cannot serve 'y': {reason}") as raised:
        triton.export(path, tmp_path / "repo")
    assert raised.value.hint


# --- ONNX models -----------------------------------------------------------------------------


def test_an_onnx_model(tmp_path: Path):
    model = save_model(tmp_path / "net.onnx")
    result = triton.export(model, tmp_path / "repo")
    config = parsed(result)
    assert (config.platform, config.backend) == ("onnxruntime_onnx", "onnxruntime")
    assert config.max_batch_size == 0
    assert "--max-batch-size" in result.batching.reason
    onnx.checker.check_model(onnx.load(tmp_path / "repo/net/1/model.onnx"))
    config = parsed(triton.export(model, tmp_path / "more", max_batch_size=32))
    assert (config.max_batch_size, list(config.output[0].dims)) == (32, [3])
    assert triton.check(tmp_path / "repo").findings == []
    assert triton.check(tmp_path / "more").findings == []


def test_a_scalar_of_an_onnx_model(tmp_path: Path):
    text = """<ir_version: 8, opset_import: ["": 13]>
    net (float[2] x, double k) => (float s, string[2] t)
    { s = ReduceSum <keepdims = 0> (x) t = Cast <to = 8> (x) }"""
    config = parsed(triton.export(save_model(tmp_path / "net.onnx", text), tmp_path / "repo"))
    assert [(i.name, list(i.dims), reshaped(i)) for i in config.input] == [
        ("x", [2], None),
        ("k", [1], None),
    ]
    assert [(o.name, list(o.dims), reshaped(o)) for o in config.output] == [
        ("s", [1], None),
        ("t", [2], None),
    ]
    assert config.output[1].data_type == published().TYPE_STRING
    assert triton.check(tmp_path / "repo").findings == []


def test_an_output_of_unknown_rank_is_no_scalar(tmp_path: Path):
    text = """<ir_version: 8, opset_import: ["": 13]>
    net (float[2,3] x, int64[K] shape) => (float y) { y = Reshape (x, shape) }"""
    model = save_model(tmp_path / "net.onnx", text)
    made = onnx.load(model)
    made.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(made, model)
    with pytest.raises(InputError, match="'y': its rank is not known"):
        triton.export(model, tmp_path / "repo")


# --- files -----------------------------------------------------------------------------------


def test_nothing_is_replaced_without_force(plan: Path, tmp_path: Path):
    repo = tmp_path / "repo"
    triton.export(plan, repo)
    with pytest.raises(OutputError, match=r"exists"):
        triton.export(plan, repo)
    triton.export(plan, repo, force=True)
    again = triton.export(plan, repo, version=2)
    assert again.kept == repo / "net/config.pbtxt"
    assert (repo / "net/2/model.plan").is_file()
    with pytest.raises(OutputError, match=r"config\.pbtxt exists"):
        triton.export(plan, repo, version=3, max_batch_size=2)
    assert not (repo / "net/3").exists()


def test_the_plan_itself_is_never_replaced(plan: Path, tmp_path: Path):
    triton.export(plan, tmp_path / "repo")
    inside = tmp_path / "repo/net/1/model.plan"
    before = inside.read_bytes()
    with pytest.raises(OutputError, match="is the input itself"):
        triton.export(inside, tmp_path / "repo", name="net", force=True)
    assert inside.read_bytes() == before
    assert not list(inside.parent.glob(".*"))


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", ".hidden", "a/b", "../up", "a\\b", "/etc", "a\nb", "\x1b[0m"),
        *("\u202ea", "a:b", "x ", "n" * 300, "a\0b", "a\ud800"),
    ],
)
def test_names_that_are_no_folders(plan: Path, tmp_path: Path, name: str):
    with pytest.raises(UsageError) as raised:
        triton.export(plan, tmp_path / "repo", name=name)
    assert "--name" in raised.value.hint
    assert not (tmp_path / "repo").exists()


@pytest.mark.parametrize("name", ["resnet50", "a.b-c_d", "名前", "two words"])
def test_names_that_are(plan: Path, tmp_path: Path, name: str):
    result = triton.export(plan, tmp_path / "repo", name=name)
    assert parsed(result).name == name
    assert triton.check(tmp_path / "repo").findings == []


def test_a_link_out_of_the_repository_is_not_followed(plan: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/net").symlink_to(outside)
    with pytest.raises(OutputError, match="leads outside the repository"):
        triton.export(plan, tmp_path / "repo", force=True)
    assert list(outside.iterdir()) == []


def test_a_failure_leaves_no_folder(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        triton.export(plan, tmp_path / "new" / "repo")
    assert not (tmp_path / "new").exists()


def test_hostile_tensor_names(tmp_path: Path):
    names = ['a"\n}', "\x1b[31m", "\u202e", "日本", "a: 1"]
    outputs = [tensor(name, [2]) for name in names]
    path = save_plan(tmp_path / "net.plan", [tensor("x", [2])], outputs, [])
    assert [o.name for o in parsed(triton.export(path, tmp_path / "repo")).output] == names
    assert triton.check(tmp_path / "repo").findings == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": [{"name": "x"}]}, "no manifest of tripoint"),
        ({"inputs": "x"}, "no manifest of tripoint"),
        ({"outputs": [tensor("\ud800", [1])]}, "no manifest of tripoint"),
        ({"inputs": [tensor("x", [10**30])]}, "no manifest of tripoint"),
        ({"inputs": [tensor("x", [-7])]}, "no manifest of tripoint"),
        ({"profiles": [[entry("x", [1], [2])]]}, "no manifest of tripoint"),
        ({"profiles": [[entry("q", [1], [2])]]}, "no manifest of tripoint"),
        ({"profiles": 3}, "no manifest of tripoint"),
        ({"tensorrt": []}, "no manifest of tripoint"),
        ({"model": "../../etc/passwd"}, "no manifest of tripoint"),
        ({"engine": {"sha256": "0"}}, "describes another plan"),
        ({"engine": []}, "no manifest of tripoint"),
    ],
)
def test_manifests_that_are_none(plan: Path, tmp_path: Path, change, message: str):
    path = tmp_path / "net.manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        triton.export(plan, tmp_path / "repo")
    assert not (tmp_path / "repo").exists()


def test_a_manifest_does_not_lead_elsewhere(plan: Path, tmp_path: Path):
    path = tmp_path / "net.manifest.json"
    content = json.loads(path.read_text())
    content["model"]["path"] = "../../../../etc/passwd"
    path.write_text(json.dumps(content))
    result = triton.export(plan, tmp_path / "repo")
    assert f"{tmp_path}/passwd: no such file" in result.batching.reason


# --- the command -----------------------------------------------------------------------------


@pytest.mark.parametrize("output_format", ["text", "json"])
@pytest.mark.usefixtures("plan")
def test_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output_format: str):
    monkeypatch.chdir(tmp_path)
    arguments = ["triton", "export", "net.plan", "-o", "repo", "--format", output_format]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    shown = result.stdout
    if output_format == "json":
        document = json.loads(shown)
        assert document["command"] == "triton export"
        del document["environment"], document["tool"]
        shown = json.dumps(document, indent=1) + "\n"
    path = SNAPSHOTS / f"triton-export.{output_format}"
    if not path.exists():
        path.write_text(shown, encoding="utf-8")
        pytest.fail(f"{path.name} was missing and has been written; read it and run again")
    assert shown == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.plan", "-o", "repo"], "tripoint triton export none.plan: no such file"),
        (["bare.plan", "-o", "repo"], "there is no bare.manifest.json beside it"),
        (["net.plan", "-o", "net.onnx"], "cannot write to net.onnx/net/1"),
        (["net.plan", "-o", "repo", "--name", "../x"], "cannot be the name"),
        (["net.plan", "-o", "repo", "--version", "0"], "--version"),
        (["net.plan", "-o", "repo", "--max-batch-size", "-1"], "--max-batch-size"),
        (["empty.onnx", "-o", "repo"], "the file is empty"),
    ],
)
@pytest.mark.usefixtures("plan")
def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, message: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.plan").write_bytes(b"p")
    (tmp_path / "empty.onnx").write_bytes(b"")
    result = CliRunner().invoke(app, ["triton", "export", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "repo").exists()
