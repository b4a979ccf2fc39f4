"""``tripoint triton check``: each mistake with a repository that has it and one that has not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.helpers.paths import SNAPSHOTS
from tests.helpers.triton_repository import (
    MODEL,
    ONE_TO_EIGHT,
    X,
    Y,
    entry,
    save_model,
    save_plan,
    tensor,
    values,
)
from tripoint import triton
from tripoint.cli import app
from tripoint.errors import InputError
from tripoint.triton import Finding

CONFIG = """name: "net"
platform: "tensorrt_plan"
max_batch_size: 8
input [
  {
    name: "x"
    data_type: TYPE_FP32
    dims: [ 3, 8, 8 ]
  }
]
output [
  {
    name: "y"
    data_type: TYPE_FP32
    dims: [ 3 ]
  }
]
"""
FULL = CONFIG.replace("size: 8", "size: 0").replace("[ 3", "[ -1, 3")
ONNX = CONFIG.replace("tensorrt_plan", "onnxruntime_onnx")
FILE = "net/config.pbtxt"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository of one plan without a mistake."""
    save_plan(tmp_path / "repo/net/1/model.plan")
    (tmp_path / "repo" / FILE).write_text(CONFIG)
    return tmp_path / "repo"


def write(repo: Path, config: str) -> triton.Checked:
    (repo / FILE).write_text(config)
    return triton.check(repo)


def only(checked: triton.Checked) -> Finding:
    (found,) = checked.findings
    return found


def skipped(checked: triton.Checked) -> str:
    return "\n".join(f"{each.what}: {each.reason}" for each in checked.unchecked)


def test_a_right_repository(repo: Path):
    checked = triton.check(repo)
    assert checked.findings == []
    (model,) = checked.models
    assert (model.name, model.backend, model.versions) == ("net", "tensorrt", [1])
    assert model.compared == ["net/1/model.manifest.json"]
    assert skipped(checked) == (
        "the TensorRT of Triton, for net/1/model.plan: it has to be 10.9.0.34, which built the plan"
    )


# --- the configuration beside the plan -------------------------------------------------------
# Old text, text with a mistake, its name, its line, what is said, what to write, and a text in
# the same place that is right.

PLAN_CASES = [
    (
        "dims: [ 3, 8, 8 ]",
        "dims: [ 3, 8, 9 ]",
        ("dims", 8, "9 along axis 3", "dims: [3, 8, 8]"),
        "dims: [ 3, 8, 8 ] reshape { shape: [ 3, 8, 8 ] }",
    ),
    (
        "dims: [ 3, 8, 8 ]",
        "dims: [ -1, 3, 8, 8 ]",
        ("dims", 8, "counts it a second time", "dims: [3, 8, 8]"),
        "dims: 3 dims: 8 dims: 8",
    ),
    (
        "dims: [ 3 ]",
        "dims: [ 3, 1 ]\n    label_filename: 'l'",
        ("dims", 15, "counts it a second time", "dims: [3]"),
        "dims: [ 3, 1 ] reshape { shape: [ 3 ] }",
    ),
    (
        "max_batch_size: 8",
        "max_batch_size: 16",
        ("max-batch-size", 3, "more than the 8", "max_batch_size: 8"),
        "max_batch_size: 4",
    ),
    (
        "max_batch_size: 8",
        "max_batch_size: -1",
        ("max-batch-size", 3, "max_batch_size is -1", "max_batch_size: 0"),
        "max_batch_size: 1",
    ),
    ('"y"', '"z"', ("tensor-name", 13, "no output named 'z'; it has 'y'", 'name: "y"'), "'y'"),
    (
        '"y"',
        '"y" data_type: TYPE_FP32 dims: [ 3 ] }, { name: "y"',
        ("tensor-name", 13, "a second time", "once"),
        '"y"',
    ),
    (
        "    data_type: TYPE_FP32\n    dims: [ 3 ]",
        "    data_type: TYPE_FP16\n    dims: [ 3 ]",
        ("data-type", 14, "is TYPE_FP16; in", "data_type: TYPE_FP32"),
        "    dims: [ 3 ] data_type: TYPE_FP32",
    ),
    (
        "    data_type: TYPE_FP32\n    dims: [ 3 ]",
        "    dims: [ 3 ]",
        ("data-type", 12, "has no data_type", "TYPE_FP32"),
        "    data_type: 11 dims: [ 3 ]",
    ),
    (
        "    dims: [ 3 ]\n",
        "",
        ("dims", 12, "has no dims", "max_batch_size"),
        "    dims: [ 3 ]\n",
    ),
    (
        "dims: [ 3 ]",
        "dims: [ 3, 0 ] reshape { shape: [ 3 ] }",
        ("dims", 15, "has the size 0", "-1 where it varies"),
        "dims: [ 1, 3 ] reshape { shape: [ 3 ] }",
    ),
    (
        "dims: [ 3 ]",
        "dims: [ 3, 2 ] reshape { shape: [ 3 ] }",
        ("reshape", 15, "the same number of values", None),
        "dims: [ 3, 1, 1 ] reshape { shape: [ 3 ] }",
    ),
    (
        "dims: [ 3 ]",
        "dims: [ 3 ] is_shape_tensor: true",
        ("shape-tensor", 15, "is not a shape tensor", "no is_shape_tensor"),
        "dims: [ 3 ] is_shape_tensor: false",
    ),
    (
        "dims: [ 3, 8, 8 ]",
        "dims: [ 3, 8, 64 ] format: FORMAT_NCHW reshape { shape: [ 3, 8, 64 ] }",
        ("dims", 8, "64 along axis 3", "dims: [3, 8, 8]"),
        "dims: [ 3, 8, 8 ] format: FORMAT_NCHW",
    ),
    (
        "dims: [ 3, 8, 8 ]",
        "dims: [ 1, 3, 8, 8 ] format: FORMAT_NHWC reshape { shape: [ 3, 8, 8 ] }",
        ("format", 8, "has 4 dims", "no format"),
        "dims: [ 3, 8, 8 ] format: FORMAT_NHWC",
    ),
    ('name: "net"', 'name: "nets"', ("model-name", 1, "that of the folder", 'name: "net"'), ""),
    (
        'platform: "tensorrt_plan"',
        'platform: "tensorrt"',
        ("platform", 2, "no platform 'tensorrt'", 'platform: "tensorrt_plan"'),
        'backend: "tensorrt"',
    ),
    (
        'platform: "tensorrt_plan"',
        'backend: "TensorRT"',
        ("platform", 2, "no backend 'TensorRT'", 'backend: "tensorrt"'),
        'platform: "tensorrt_plan" backend: "tensorrt"',
    ),
    (
        'platform: "tensorrt_plan"',
        'platform: "onnxruntime_onnx" backend: "tensorrt"',
        ("platform", 2, "do not go together", 'backend: "onnxruntime" without a platform'),
        "",
    ),
    (
        "max_batch_size: 8",
        "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 4, 16 ] }",
        ("dynamic-batching", 3, "preferred_batch_size 16", "at most 8"),
        "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 4, 8 ] }",
    ),
    (
        "max_batch_size: 8",
        "max_batch_size: 8\nversion_policy { specific { versions: [ 1, 2 ] } }",
        ("version-policy", 4, "no folder 2", "one of 1"),
        "max_batch_size: 8 version_policy { specific { versions: 1 } }",
    ),
    (
        "max_batch_size: 8",
        "max_batch_size: 8 version_policy { latest { } }",
        ("version-policy", 3, "loads no version", "num_versions: 1"),
        "max_batch_size: 8 version_policy { all { } }",
    ),
    (
        "max_batch_size: 8",
        "max_batch_size: 8\ninstance_group [ { kind: KIND_CPU } ]",
        ("instance-group", 4, "does not run on a CPU", "KIND_GPU"),
        "max_batch_size: 8 instance_group [ { kind: KIND_GPU gpus: 0 } ]",
    ),
    (
        "max_batch_size: 8",
        'max_batch_size: 8 instance_group [ { kind: KIND_GPU profile: [ "1" ] } ]',
        ("profile", 3, "no profile 1; net/1/model.manifest.json has 1", 'profile: ["0"]'),
        'max_batch_size: 8 instance_group [ { kind: KIND_GPU profile: [ "0" ] } ]',
    ),
    (
        "max_batch_size: 8",
        'max_batch_size: 8 instance_group [ { profile: "first" } ]',
        ("profile", 3, "'first' is no number", 'profile: ["0"]'),
        'max_batch_size: 8 instance_group [ { profile: "0" } ]',
    ),
    (
        "input [",
        "inputs [",
        ("unknown-field", 4, "no field 'inputs'", "input"),
        "input: [",
    ),
    (
        "TYPE_FP32\n    dims: [ 3 ]",
        "TYPE_FLOAT32\n    dims: [ 3 ]",
        ("config-text", 14, "no value TYPE_FLOAT32", "data_type: TYPE_FP32"),
        "TYPE_FP32\n    dims: [ 3 ]",
    ),
    (
        "TYPE_FP32\n    dims: [ 3 ]",
        '"TYPE_FP32"\n    dims: [ 3 ]',
        ("config-text", 14, "no value", "data_type: TYPE_FP32, without quotes"),
        "TYPE_FP32,\n    dims: [ 3 ]",
    ),
    (
        "max_batch_size: 8",
        "max_batch_size 8",
        ("config-text", 3, 'Expected ":"', None),
        "# max_batch_size 8\nmax_batch_size: 8",
    ),
    (
        "max_batch_size: 8",
        "max_batch_size: 8\ndynamic_batching { prefered_batch_size: 4 }",
        ("unknown-field", 4, "'prefered_batch_size'", "preferred_batch_size"),
        "max_batch_size: 8\ndynamic_batching { }",
    ),
    (
        "max_batch_size: 8",
        'max_batch_size: 8 default_model_filename: "net.plan"',
        ("file-name", None, "looks for 'net.plan' here, and finds 'model.plan'", "model.plan"),
        'max_batch_size: 8 default_model_filename: "model.plan"',
    ),
    (
        "max_batch_size: 8",
        'max_batch_size: 8 default_model_filename: "../../../secret.plan"',
        ("outside", None, "outside the repository", "copy the file"),
        'max_batch_size: 8 cc_model_filenames { key: "9.0" value: "model.plan" }',
    ),
]


@pytest.mark.parametrize(("old", "wrong", "expected", "right"), PLAN_CASES)
def test_plan(repo: Path, old: str, wrong: str, expected, right: str):
    assert CONFIG.count(old) >= 1
    name, line, message, instead = expected
    found = only(write(repo, _last(CONFIG, old, wrong)))
    assert (found.name, found.line) == (name, line), found
    assert message in found.message
    assert (found.write is None) if instead is None else (instead in found.write)
    if line is not None:
        assert found.file == FILE
    assert write(repo, _last(CONFIG, old, right)).findings == []


def _last(text: str, old: str, new: str) -> str:
    """Replace the last occurrence, which is that of the output."""
    return new.join(text.rsplit(old, 1))


@pytest.mark.parametrize(
    ("old", "wrong", "message", "instead"),
    [
        ("[ -1, 3, 8, 8 ]", "[ 3, 8, 8 ]", "counts every axis", "a max_batch_size above 0"),
        ("[ -1, 3, 8, 8 ]", "[ 8, 8 ]", "it has 4 axes", "dims: [-1, 3, 8, 8]"),
        ("[ -1, 3, 8, 8 ]", "[ 9, 3, 8, 8 ]", "profile 0 takes 1 to 8", "dims: [-1, 3, 8, 8]"),
        ("[ -1, 3, 8, 8 ]", "[ -1, 8, 8, 3 ]", "8 along axis 1", "dims: [-1, 3, 8, 8]"),
    ],
)
def test_plan_without_batching(repo: Path, old: str, wrong: str, message: str, instead: str):
    assert write(repo, FULL).findings == []
    assert write(repo, FULL.replace(old, "[ 4, 3, 8, 8 ]")).findings == []
    found = write(repo, FULL.replace(old, wrong)).findings
    assert {each.name for each in found} == {"dims"}
    assert message in found[0].message
    assert instead in found[0].write


def test_a_size_that_an_output_may_have_is_not_called_fine(repo: Path):
    checked = write(repo, FULL.replace("[ -1, 3 ]", "[ 4, 3 ]"))
    assert checked.findings == []
    assert "axis 0 of output 'y': it is 4 in the configuration" in skipped(checked)


def test_an_axis_that_never_varies(repo: Path):
    found = only(write(repo, CONFIG.replace("[ 3, 8, 8 ]", "[ 3, -1, 8 ]")))
    assert (found.name, found.severity) == ("dims", "warning")
    assert "axis 2; in net/1/model.manifest.json it is always 8" in found.message


def test_a_batch_axis_that_is_fixed(repo: Path):
    save_plan(repo / "net/1/model.plan", [tensor("x", [1, 3, 8, 8])], [tensor("y", [1, 3])], [])
    found = triton.check(repo).findings
    assert [(each.name, each.line) for each in found] == [("batch-axis", 8), ("batch-axis", 15)]
    assert "always 1 along axis 0" in found[0].message
    assert found[0].write.startswith("max_batch_size: 1, or max_batch_size: 0")
    # Triton takes batches of exactly the size of the plan.
    assert write(repo, CONFIG.replace("size: 8", "size: 1")).findings == []
    assert write(repo, FULL.replace("-1", "1")).findings == []
    found = write(repo, CONFIG.replace("size: 8", "size: 1").replace("[ 3 ]", "[ 4 ]")).findings
    assert [each.name for each in found] == ["dims"]


def test_a_fixed_batch_takes_no_smaller_one(repo: Path):
    save_plan(repo / "net/1/model.plan", [tensor("x", [8, 3, 8, 8])], [tensor("y", [8, 3])], [])
    found = triton.check(repo).findings
    assert [(each.name, each.severity) for each in found] == [("batch-axis", "warning")] * 2


def test_a_fixed_batch_of_an_onnx_model(onnx_repo: Path):
    save_model(onnx_repo / "net/1/model.onnx", MODEL.replace("N,", "1,"))
    found = write(onnx_repo, ONNX.replace("size: 8", "size: 1")).findings
    assert [each.name for each in found] == ["batch-axis", "batch-axis"]


def test_an_empty_reshape_is_one_value_in_a_batch(repo: Path):
    save_plan(repo / "net/1/model.plan", [X], [tensor("y", [-1])])
    right = CONFIG.replace("[ 3 ]", "[ 1 ] reshape { shape: [] }")
    assert write(repo, right).findings == []
    found = write(repo, CONFIG.replace("[ 3 ]", "[ 1 ]")).findings
    assert "dims: [1] and reshape { shape: [] }" in found[0].write
    found = write(repo, FULL.replace("[ -1, 3 ]", "[ 1 ] reshape { shape: [] }")).findings
    assert {each.name for each in found} == {"reshape", "dims"}
    assert "Triton refuses it" in found[0].message


def test_a_scalar_of_a_plan(repo: Path):
    save_plan(repo / "net/1/model.plan", [X], [tensor("y", [])])
    found = only(write(repo, FULL.replace("[ -1, 3 ]", "[ 1 ]")))
    assert found.name == "scalar"
    assert "unsqueeze" in found.write
    assert only(write(repo, CONFIG.replace("[ 3 ]", "[ 1 ]"))).name == "batch-axis"


def test_shape_tensors(repo: Path):
    inputs = [X, tensor("sizes", [3], "int64")]
    profiles = [[*ONE_TO_EIGHT[0], values("sizes", [1, 1, 1], [9, 9, 9])]]
    save_plan(repo / "net/1/model.plan", inputs, [Y], profiles)
    listed = '  },\n  { name: "sizes" data_type: TYPE_INT64 dims: [ %d ] %s }\n]\noutput'
    marked = "is_shape_tensor: true"

    def with_sizes(text: str, size: int, mark: str) -> str:
        return text.replace("  }\n]\noutput", listed % (size, mark))

    assert write(repo, with_sizes(FULL, 3, marked)).findings == []
    # With batching the first value is the batch, which dims does not count.
    assert write(repo, with_sizes(CONFIG, 2, marked)).findings == []
    found = only(write(repo, with_sizes(FULL, 2, marked)))
    assert (found.name, found.write) == ("dims", "dims: [3]")
    found = only(write(repo, with_sizes(FULL, 3, "")))
    assert (found.name, found.write) == ("shape-tensor", "is_shape_tensor: true")


def test_order_and_missing_outputs(repo: Path):
    outputs = [tensor(name, [-1, 3]) for name in ("boxes", "scores", "anchors")]
    save_plan(repo / "net/1/model.plan", [X], outputs)

    def with_outputs(*names: str) -> triton.Checked:
        head = CONFIG[: CONFIG.index("output")]
        fields = [f'output {{ name: "{n}" data_type: TYPE_FP32 dims: [ 3 ] }}\n' for n in names]
        return write(repo, head + "".join(fields))

    assert with_outputs("boxes", "scores", "anchors").findings == []
    found = only(with_outputs("boxes", "anchors", "scores"))
    assert (found.name, found.severity, found.line) == ("order", "warning", 11)
    assert "has boxes, scores, anchors" in found.message
    found = only(with_outputs("boxes", "scores"))
    assert found.name == "missing-tensor"
    assert "output 'anchors' of net/1/model.manifest.json" in found.message
    found = only(with_outputs("boxes", "scores", "ancors"))
    assert (found.name, found.write) == ("tensor-name", 'name: "anchors"')
    wrong = with_outputs("boxes", "scores", "anchors", "x").findings
    assert [each.name for each in wrong] == ["tensor-name"]
    assert "'x' is an input of" in wrong[0].message


def test_inputs_that_triton_fills_in_are_not_missing(repo: Path):
    inputs = [X, *(tensor(name, [-1, 1]) for name in ("START", "COUNT", "S0"))]
    outputs = [Y, tensor("S1", [-1, 1])]
    save_plan(repo / "net/1/model.plan", inputs, outputs, [])
    assert {each.name for each in write(repo, CONFIG).findings} == {"missing-tensor"}
    sequence = """
    sequence_batching {
      control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START } ] } ]
      state [ { input_name: "S0" output_name: "S1" data_type: TYPE_FP32 dims: [ 1 ] } ]
    }
    batch_input [ { kind: BATCH_ELEMENT_COUNT target_name: "COUNT" source_input: "x" } ]"""
    assert write(repo, CONFIG + sequence).findings == []


def test_a_configuration_without_tensors(repo: Path):
    checked = write(repo, 'backend: "tensorrt"')
    assert checked.findings == []
    assert "the inputs: the configuration lists none" in skipped(checked)
    assert "the outputs: the configuration lists none" in skipped(checked)


TWO_PROFILES = [*ONE_TO_EIGHT, [entry("x", [9, 3, 8, 8], [32, 3, 8, 8])]]


@pytest.mark.parametrize(
    ("groups", "size", "expected"),
    [
        ('{ profile: [ "0", "1" ] }', 32, None),
        ('{ profile: [ "0", "1" ] }, { profile: [ "1", "0" ] }', 32, None),
        ("", 8, "no instance uses profile 1"),
        ('{ profile: "1" }', 32, "no instance uses profile 0"),
        ('{ profile: "0" }, { profile: "1" }', 32, "any free instance"),
        ('{ profile: [ "0", "1", "2" ] }', 32, "there is no profile 2"),
        ('{ profile: [ "0", "1", "%s" ] }' % ("9" * 5000), 32, "is no number"),
    ],
)
def test_profiles(repo: Path, groups: str, size: int, expected: str | None):
    save_plan(repo / "net/1/model.plan", profiles=TWO_PROFILES)
    config = CONFIG.replace("size: 8", f"size: {size}") + f"instance_group [ {groups} ]"
    checked = write(repo, config)
    if expected is None:
        assert checked.findings == []
        return
    found = only(checked)
    assert found.name == "profile"
    assert expected in found.message
    assert '["0"' in found.write


def test_the_largest_batch_is_that_of_the_profiles_in_use(repo: Path):
    save_plan(repo / "net/1/model.plan", profiles=TWO_PROFILES)
    names = {each.name for each in write(repo, CONFIG.replace("size: 8", "size: 32")).findings}
    assert names == {"profile", "max-batch-size"}


def test_a_profile_that_does_not_start_at_one(repo: Path):
    save_plan(repo / "net/1/model.plan", profiles=[[entry("x", [4, 3, 8, 8], [8, 3, 8, 8])]])
    found = only(triton.check(repo))
    assert (found.name, found.severity) == ("max-batch-size", "warning")
    assert "fewer than 4 rows" in found.message


def test_dynamic_batching_without_a_batch(repo: Path):
    found = only(write(repo, FULL + "dynamic_batching { }"))
    assert (found.name, found.severity) == ("dynamic-batching", "warning")


def test_a_plan_of_rtx(repo: Path):
    built = {"name": "tensorrt_rtx", "kind": "rtx", "version": "1.6.1.120"}
    save_plan(repo / "net/1/model.plan", tensorrt=built)
    found = only(triton.check(repo))
    assert (found.name, found.file) == ("rtx-plan", "net/1/model.plan")
    assert "TensorRT-RTX 1.6.1.120" in found.message


def test_a_manifest_of_another_plan(repo: Path):
    (repo / "net/1/model.plan").write_bytes(b"a newer plan")
    checked = triton.check(repo)
    found = only(checked)
    assert (found.name, found.file) == ("manifest", "net/1/model.manifest.json")
    assert "its manifest cannot be used" in skipped(checked)
    assert checked.models[0].compared == []


@pytest.mark.parametrize("content", ["{", "[]", '{"inputs": 3}', "[" * 100_000, "\0"])
def test_a_manifest_that_is_none(repo: Path, content: str):
    (repo / "net/1/model.manifest.json").write_text(content)
    assert only(triton.check(repo)).name == "manifest"


def test_a_plan_without_a_manifest_is_not_called_fine(repo: Path):
    (repo / "net/1/model.manifest.json").unlink()
    checked = write(repo, CONFIG.replace("3, 8, 8", "1, 2"))
    assert checked.findings == []
    assert "there is no model.manifest.json beside it" in skipped(checked)
    assert checked.models[0].compared == []


def test_a_plan_with_its_onnx_model_beside_it(repo: Path):
    (repo / "net/1/model.manifest.json").unlink()
    save_model(repo / "net/1/model.onnx")
    checked = write(repo, CONFIG.replace('"y"', '"z"'))
    assert only(checked).name == "tensor-name"
    profile = 'instance_group { profile: "3" }'
    assert write(repo, CONFIG + profile).findings == []
    assert "net/1/model.onnx was taken for its model" in skipped(checked)


# --- ONNX models -----------------------------------------------------------------------------


@pytest.fixture
def onnx_repo(tmp_path: Path) -> Path:
    (tmp_path / "repo/net/1").mkdir(parents=True)
    save_model(tmp_path / "repo/net/1/model.onnx")
    (tmp_path / "repo" / FILE).write_text(ONNX)
    return tmp_path / "repo"


@pytest.mark.parametrize(
    ("old", "wrong", "expected"),
    [
        ("[ 3, 8, 8 ]", "[ 3, -1, 8 ]", ("dims", "Triton wants the same")),
        ("dims: [ 3 ]", "dims: [ 4 ]", ("dims", "4 along axis 1")),
        ("TYPE_FP32\n    dims: [ 3 ]", "TYPE_INT8\n    dims: [ 3 ]", ("data-type", "float32")),
        ("dims: [ 3 ]", "dims: [ 3 ] is_shape_tensor: true", ("shape-tensor", "only plans have")),
        ("[ 3 ]\n  }\n]", '[ 3 ] }]\ninstance_group { profile: "0" }', ("profile", "no optimiz")),
    ],
)
def test_onnx(onnx_repo: Path, old: str, wrong: str, expected: tuple[str, str]):
    assert triton.check(onnx_repo).findings == []
    found = only(write(onnx_repo, ONNX.replace(old, wrong)))
    assert found.name == expected[0]
    assert expected[1] in found.message


def test_onnx_output_that_varies(onnx_repo: Path):
    onnx = FULL.replace("tensorrt_plan", "onnxruntime_onnx")
    assert write(onnx_repo, onnx).findings == []
    found = only(write(onnx_repo, onnx.replace("dims: [ -1, 3 ]", "dims: [ 2, 3 ]")))
    assert "Triton wants -1 there" in found.message


def test_onnx_outputs_may_be_left_out(onnx_repo: Path):
    two = """<ir_version: 8, opset_import: ["": 13]>
    net (float[N,3,8,8] x) => (float[N,3] y, float[N,3,1,1] mean)
    { mean = GlobalAveragePool (x) y = Flatten (mean) }"""
    save_model(onnx_repo / "net/1/model.onnx", two)
    assert triton.check(onnx_repo).findings == []


def test_onnx_that_cannot_be_loaded(onnx_repo: Path):
    (onnx_repo / "net/1/model.onnx").write_bytes(b"\xff\xff")
    assert only(triton.check(onnx_repo)).name == "file-content"
    unknown = '<ir_version: 8, opset_import: ["": 13, "my": 1]> n (float[2] x) => (float[2] y)'
    save_model(onnx_repo / "net/1/model.onnx", unknown + "{ y = my.Op (x) }")
    checked = triton.check(onnx_repo)
    assert checked.findings == []
    assert "net/1/model.onnx: ONNX Runtime cannot load the graph" in skipped(checked)


# --- folders and files -----------------------------------------------------------------------


def test_a_model_without_a_version(repo: Path):
    (repo / "net/1/model.plan").rename(repo / "net/model.plan")
    (repo / "net/1/model.manifest.json").unlink()
    (repo / "net/1").rmdir()
    found = only(triton.check(repo))
    assert (found.name, found.file) == ("missing-version", "net")
    assert found.write == "move model.plan to net/1/"


@pytest.mark.parametrize("name", ["v1", "01", "latest", "1.0", "-1", "0"])
def test_version_folders(repo: Path, name: str):
    (repo / "net" / name).mkdir()
    found = only(triton.check(repo))
    assert (found.name, found.severity) == ("version-name", "warning")
    (repo / "net" / name).rename(repo / "net/warmup")
    assert triton.check(repo).findings == []


@pytest.mark.parametrize("name", ["net.engine", "model.trt", "model.plan.plan"])
def test_a_model_file_of_another_name(repo: Path, name: str):
    (repo / "net/1/model.plan").rename(repo / "net/1" / name)
    found = only(triton.check(repo))
    assert (found.name, found.file) == ("file-name", "net/1")
    assert f'default_model_filename: "{name}"' in found.write


def test_a_model_file_of_another_backend(repo: Path):
    save_model(repo / "net/1/model.onnx")
    (repo / "net/1/model.plan").unlink()
    found = only(triton.check(repo))
    assert (found.name, found.write) == ("file-name", 'backend: "onnxruntime" without a platform')


def test_a_model_file_that_lacks(repo: Path):
    (repo / "net/2").mkdir()
    found = only(triton.check(repo))
    assert (found.name, found.file) == ("missing-file", "net/2")
    assert "net/2/model.plan" in found.write


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS")],
)
def test_a_model_file_that_is_none(repo: Path, content: bytes, message: str):
    (repo / "net/1/model.plan").write_bytes(content)
    found = only(triton.check(repo))
    assert found.name == "file-content"
    assert message in found.message


def test_a_configuration_at_the_wrong_place(repo: Path):
    (repo / FILE).rename(repo / "net/1/config.pbtxt")
    checked = triton.check(repo)
    assert (only(checked).name, only(checked).write) == ("config-place", f"move it to {FILE}")
    (repo / "net/1/config.pbtxt").rename(repo / "net/config.pbtxt.txt")
    assert only(triton.check(repo)).write == f"rename it to {FILE}"
    (repo / "net/config.pbtxt.txt").unlink()
    found = only(triton.check(repo))
    assert (found.name, found.severity) == ("missing-config", "warning")
    assert "no configuration that can be read" in skipped(triton.check(repo))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (1 << 20) + b"y"])
def test_a_configuration_that_is_no_text(repo: Path, content: bytes):
    (repo / FILE).write_bytes(content)
    assert only(triton.check(repo)).name == "config-text"


def test_a_field_of_another_triton_is_listed(repo: Path):
    checked = write(repo, CONFIG + "quantum_scheduling { qubits: [ 1, 2 ] }")
    assert checked.findings == []
    assert "quantum_scheduling in line 18" in skipped(checked)


def test_other_backends(repo: Path):
    python = CONFIG.replace('platform: "tensorrt_plan"', 'backend: "python"')
    checked = write(repo, python)
    assert checked.findings == []
    assert "does not know the models of the backend 'python'" in skipped(checked)
    assert write(repo, python.replace('"python"', '"mine"')).findings == []
    found = only(write(repo, python.replace('"python"', '"trt"')))
    assert (found.name, found.write) == ("platform", 'backend: "tensorrt"')


def test_a_backend_that_nothing_tells(repo: Path):
    (repo / "net/1/model.plan").rename(repo / "net/1/weights.bin")
    found = only(write(repo, "max_batch_size: 0"))
    assert (found.name, found.line) == ("platform", None)


def test_links_out_of_the_repository_are_not_read(repo: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    save_plan(outside / "1/model.plan")
    (outside / "config.pbtxt").write_text("not a configuration")
    (repo / "far").symlink_to(outside)
    (repo / "net" / "2").symlink_to(outside / "1")
    checked = triton.check(repo)
    assert [(each.name, each.severity) for each in checked.findings] == [("outside", "warning")] * 2
    assert "it lies outside the repository" in skipped(checked)
    (repo / "far").unlink()
    (repo / "net/2").unlink()
    (repo / FILE).unlink()
    (repo / FILE).symlink_to(outside / "config.pbtxt")
    assert {each.name for each in triton.check(repo).findings} == {"outside"}


@pytest.mark.parametrize("target", ["model.plan", "../../../secret", "/dev/zero"])
def test_links_to_no_file(repo: Path, target: str):
    (repo / "net/1/model.plan").unlink()
    (repo / "net/1/model.plan").symlink_to(target)
    found = only(triton.check(repo))
    assert found.name == ("missing-file" if target == "model.plan" else "outside")


@pytest.mark.parametrize("name", ["\\000", "a\\000b", ".", "1" * 200, "\\n"])
def test_odd_file_names(repo: Path, name: str):
    found = only(write(repo, CONFIG + f'default_model_filename: "{name}"'))
    assert found.name == "file-name"


def test_links_within_the_repository_are(repo: Path):
    (repo / "net/2").symlink_to("1")
    assert triton.check(repo).findings == []
    (repo / "loop").symlink_to("loop")
    assert triton.check(repo).findings == []


def test_hidden_folders(repo: Path):
    (repo / ".git").mkdir()
    found = only(triton.check(repo))
    assert (found.name, found.severity) == ("folder-name", "warning")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_files_that_cannot_be_read(repo: Path):
    (repo / FILE).chmod(0)
    assert only(triton.check(repo)).name == "config-text"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none", "no such folder"),
        ("repo/net/config.pbtxt", "cannot be read"),
        ("repo/net", "this is the folder of one model"),
        ("empty", "there is no model in this folder"),
    ],
)
@pytest.mark.usefixtures("repo")
def test_what_is_no_repository(tmp_path: Path, path: str, message: str):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        triton.check(tmp_path / path)


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def wrong(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several mistakes, and names that steer a terminal."""
    monkeypatch.chdir(repo.parent)
    evil = CONFIG.replace('"y"', '"\\033[31m"').replace("[ 3, 8, 8 ]", "[ 3, 8, 224 ]")
    (repo / FILE).write_text(evil.replace("size: 8", "size: 16"))
    folder = repo / "\x1b[31mred"
    folder.mkdir()
    (folder / "config.pbtxt").write_text('backend: "tensorrt" }')


@pytest.mark.parametrize("output_format", ["text", "json"])
@pytest.mark.usefixtures("wrong")
def test_snapshots(output_format: str):
    result = CliRunner().invoke(app, ["triton", "check", "repo", "--format", output_format])
    assert result.exit_code == 1, result.output
    shown = result.stdout
    assert "\x1b" not in shown
    if output_format == "json":
        document = json.loads(shown)
        assert document["command"] == "triton check"
        del document["environment"], document["tool"]
        shown = json.dumps(document, indent=1) + "\n"
    path = SNAPSHOTS / f"triton-check.{output_format}"
    if not path.exists():
        path.write_text(shown, encoding="utf-8")
        pytest.fail(f"{path.name} was missing and has been written; read it and run again")
    assert shown == path.read_text(encoding="utf-8")


def test_exit_codes(repo: Path):
    run = CliRunner().invoke
    assert run(app, ["triton", "check", str(repo)]).exit_code == 0
    missing = run(app, ["triton", "check", str(repo / "none")])
    assert missing.exit_code == 2
    assert missing.stderr.startswith("tripoint triton check ")
    write(repo, CONFIG.replace("[ 3, 8, 8 ]", "[ 3, -1, 8 ]"))
    assert run(app, ["triton", "check", str(repo)]).exit_code == 1
