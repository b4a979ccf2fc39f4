"""The manifest: its schema, and what it says of a plan on another machine."""

from __future__ import annotations

import copy
import json
import shlex
from pathlib import Path

import jsonschema
import numpy as np
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.building import STAND_IN, eca, saved
from tests.helpers.marks import RTX, needs_rtx
from tripoint.cli import app
from tripoint.engine import builder, manifest, options
from tripoint.errors import InputError
from tripoint.model import Model, sha256
from tripoint.parity.results import LegReport, Verification
from tripoint.profiles.profile import from_spec
from tripoint.spec import Spec
from tripoint.trt.bindings import Binding
from tripoint.trt.gpu import Device

OURS = Binding(RTX, "1.6.1.120", "rtx")
A4000 = Device(0, "RTX A4000", "8.6", 16 << 30)


def strict(schema: dict) -> dict:
    """The schema with every key that it does not document forbidden."""
    schema = copy.deepcopy(schema)

    def close(part):
        if isinstance(part, dict):
            if "properties" in part and "additionalProperties" not in part:
                part["additionalProperties"] = False
            for value in part.values():
                close(value)
        elif isinstance(part, list):
            for value in part:
                close(value)

    close(schema)
    return schema


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A manifest of a build with every option, from the stand-in."""
    monkeypatch.syspath_prepend(STAND_IN)
    plugin = tmp_path / "p.so"
    plugin.write_bytes(b"plugin")
    asked = options.BuildOptions(
        pools={"workspace": 64 << 20},
        optimization_level=4,
        hardware_compatibility="ampere-plus",
        version_compatible=True,
        refit=True,
        strip_weights=True,
        plugins=(plugin,),
        timing_cache=tmp_path / "times",
    )
    result = builder.build(
        tripoint.load(saved(tmp_path, "N")),
        tmp_path / "model.plan",
        profiles=[from_spec({"x": ("N", 3, 5, 5)}, Spec.parse(dims=["N=1..2..4"]))],
        tensorrt="tensorrt_rtx",
        tf32=False,
        options=asked,
    )
    return dict(result.manifest)


# The schema


def test_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(manifest.schema())


@needs_rtx
@pytest.mark.parametrize("size", ["1", "N"])
def test_manifest_of_a_real_build_is_valid(tmp_path, size):
    spec = Spec.parse(dims=["N=1..2..4"] if size == "N" else [])
    result = tripoint.build(
        eca(size), tmp_path / "a.plan", spec=spec, tensorrt=RTX, compute_capabilities=["8.6"]
    )
    content = json.loads(result.manifest_path.read_text())
    jsonschema.validate(content, strict(manifest.schema()))
    assert content["engine"]["sha256"] == sha256(tmp_path / "a.plan")
    assert content["precision"]["requested"] is None
    assert content["precision"]["network"]["counts"]["fp32"] > 0
    assert content["verification"] is None


def test_manifest_with_everything_is_valid(built):
    jsonschema.validate(built, strict(manifest.schema()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("engine", "sha256"), "0"),
        (("engine", "bytes"), 0),
        (("schema_version",), "1.0"),
        (("tensorrt", "kind"), "trt"),
        (("flags", "tf32"), "yes"),
        (("profiles",), [{"name": "x"}]),
        (("target", "compute_capabilities"), ["8"]),
        (("verification",), {"verdict": "fine", "legs": {}, "points": 1}),
        (("timing_cache",), None),
    ],
)
def test_schema_refuses(built, path, value):
    *parents, last = path
    place = built
    for name in parents:
        place = place[name]
    place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(built, manifest.schema())


@pytest.mark.parametrize("key", manifest.schema()["required"])
def test_schema_needs_every_key(built, key):
    del built[key]
    with pytest.raises(jsonschema.ValidationError, match=key):
        jsonschema.validate(built, manifest.schema())


# What it says


def test_hashes_of_the_weights_are_kept(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(STAND_IN)
    model = eca()
    weights = np.arange(3, dtype=np.float32).reshape(1, 1, 3, 1)
    model.graph.initializers["w"].const_value = ir.Tensor(weights, name="w")
    path = tmp_path / "model.onnx"
    ir.save(model, path, external_data="model.onnx.data", size_threshold_bytes=0)
    result = tripoint.build(path, tmp_path / "a.plan", tensorrt="tensorrt_rtx")
    data = tmp_path / "model.onnx.data"
    assert result.manifest["model"]["sha256"] == sha256(path)
    assert result.manifest["model"]["external_data"] == [
        {"location": data.name, "bytes": data.stat().st_size, "sha256": sha256(data)}
    ]


def test_home_folder_is_not_written_down(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(STAND_IN)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    result = tripoint.build(eca(), tmp_path / "a.plan", tensorrt="tensorrt_rtx")
    assert result.manifest["timing_cache"]["location"] == (
        "~/.cache/tripoint/timing/tensorrt_rtx-99.1-default.timing"
    )
    assert str(tmp_path) not in manifest.text(result.manifest)


def test_verification_is_added(built, tmp_path):
    path = tmp_path / "model.manifest.json"
    before = manifest.read(path)
    found = {"verdict": "equal", "legs": {"TensorRT": "ran", "PyTorch": "not run"}, "points": 3}
    after = manifest.add_verification(path, found)
    assert after == {**before, "verification": found} == manifest.read(path)
    jsonschema.validate(after, strict(manifest.schema()))
    assert built["verification"] is None


@needs_rtx
@pytest.mark.parametrize("status", ["ran", "not run"])
def test_run_keeps_how_the_comparison_ended(tmp_path, monkeypatch, status):
    def verify(*_args, **_options):
        legs = (LegReport("ONNX Runtime", "ran"), LegReport("TensorRT", status, reason="said so"))
        return Verification("unproven", (), legs, (), None, (), ())

    monkeypatch.setattr("tripoint.api.comparing.verify", verify)
    result = tripoint.run(str(saved(tmp_path)), tmp_path / "out", tensorrt=RTX, numeric=False)
    kept = manifest.read(tmp_path / "out" / "model.manifest.json")
    jsonschema.validate(kept, strict(manifest.schema()))
    assert kept == result.build.manifest
    expected = {
        "verdict": "unproven",
        "legs": {"ONNX Runtime": "ran", "TensorRT": "ran"},
        "points": 0,
    }
    assert kept["verification"] == (expected if status == "ran" else None)


def test_manifest_of_a_newer_tripoint(built, tmp_path):
    path = tmp_path / "new.manifest.json"
    path.write_text(manifest.text({**built, "schema_version": "3.1"}))
    with pytest.raises(InputError, match="a newer tripoint wrote this manifest"):
        manifest.read(path)


# On another machine


def edited(content: dict, **parts: dict) -> dict:
    return {
        key: {**value, **parts[key]} if key in parts else value for key, value in content.items()
    }


@pytest.fixture
def plain(built):
    """A manifest of a plain build of TensorRT-RTX for one GPU."""
    flags = dict.fromkeys(("version_compatible", "refit", "strip_weights"), False)
    return edited(
        built,
        tensorrt={"name": RTX, "kind": "rtx", "version": "1.6.1.120"},
        target={"compute_capabilities": ["8.6"]},
        flags={**flags, "hardware_compatibility": None, "plugins": [], "tf32": True},
    )


def test_nothing_speaks_against_the_same_machine(plain):
    machine = manifest.Machine(OURS, (A4000,))
    assert manifest.differences(plain, machine) == []
    assert manifest.rebuild(plain, machine) is None


def test_without_a_gpu_another_build_would_not_help(plain):
    machine = manifest.Machine(OURS, ())
    assert manifest.differences(plain, machine) == ["here is no GPU to run it on"]
    assert manifest.rebuild(plain, machine) is None


def test_command_builds_again_what_the_manifest_says(built):
    machine = manifest.Machine(OURS, (A4000,))
    command = manifest.rebuild(edited(built, tensorrt={"kind": "tensorrt"}), machine)
    assert command == (
        "tripoint build model.onnx -o model.plan --input 'x:[1..2..4,3,5,5]' --no-tf32 "
        "--pool workspace=64 --optimization-level 4 --hardware-compatibility ampere_plus "
        "--version-compatible --refit --strip-weights --plugin p.so --force"
    )


def test_command_gives_every_profile_and_values(plain):
    size = {"name": "size", "min": [1, 3], "opt": [2, 3], "max": [4, 3], "values": True}
    (first,) = plain["profiles"]
    content = {**edited(plain, tensorrt={"version": "1"}), "profiles": [first, [*first, size]]}
    command = manifest.rebuild(content, manifest.Machine(OURS, (A4000,)))
    words = shlex.split(command)
    given = [words[i + 1] for i, word in enumerate(words) if word == "--profile"]
    assert given == ["x:[1..2..4,3,5,5]", "x:[1..2..4,3,5,5] size=[1,3]..[2,3]..[4,3]"]


def test_command_is_one_that_works(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    newer = manifest.Machine(Binding("tensorrt_rtx", "99.1", "rtx"), (A4000,))
    plain["target"]["compute_capabilities"] = None
    words = shlex.split(manifest.rebuild(plain, newer))
    done = CliRunner().invoke(app, [*words[1:], "-q", "--tensorrt", "tensorrt_rtx"])
    assert done.exit_code == 0, done.output
    again = manifest.read(Path("model.manifest.json"))
    assert again["profiles"] == plain["profiles"]
    assert again["flags"] == plain["flags"]


def test_gpu_that_it_was_not_built_for_is_added(plain):
    hopper = Device(0, "H100", "9.0", 80 << 30)
    command = manifest.rebuild(plain, manifest.Machine(OURS, (hopper,)))
    assert "--compute-capability 8.6 --compute-capability 9.0" in command


@pytest.mark.parametrize(
    ("flags", "here", "runs"),
    [
        ({}, "1.6.1.120", True),
        ({}, "1.7.1.116", False),
        ({"version_compatible": True}, "1.7.1.116", True),
        ({"version_compatible": True}, "1.5.0.114", False),
    ],
)
def test_version_compatible_plans_run_with_later_versions(plain, flags, here, runs):
    machine = manifest.Machine(Binding(RTX, here, "rtx"), (A4000,))
    assert (manifest.differences(edited(plain, flags=flags), machine) == []) is runs


@pytest.mark.parametrize(
    ("level", "here", "runs"),
    [
        (None, Device(0, "A10", "8.6", 1), False),
        ("ampere_plus", Device(0, "H100", "9.0", 1), True),
        ("ampere_plus", Device(0, "T4", "7.5", 1), False),
        ("same_compute_capability", Device(0, "A10", "8.6", 1), True),
        ("same_compute_capability", Device(0, "A100", "8.0", 1), False),
    ],
)
def test_hardware_compatible_plans_run_on_other_gpus(plain, level, here, runs):
    gpu = {"index": 0, "name": "RTX A4000", "compute_capability": "8.6", "memory": 1}
    content = edited(
        plain,
        tensorrt={"kind": "tensorrt", "version": "10.3"},
        target={"compute_capabilities": None, "gpu": gpu},
        flags={"hardware_compatibility": level},
    )
    machine = manifest.Machine(Binding("tensorrt", "10.3", "tensorrt"), (here,))
    assert (manifest.differences(content, machine) == []) is runs


def test_stripped_plan_says_that_it_needs_its_weights(plain):
    content = edited(plain, flags={"strip_weights": True})
    machine = manifest.Machine(OURS, (A4000,))
    assert "refitting" in manifest.differences(content, machine)[0]
    assert manifest.rebuild(content, machine) is None


def test_inspect_prints_the_command(built, tmp_path):
    assert built["tensorrt"]["version"] == "99.1"
    path = tmp_path / "model.manifest.json"
    path.write_text(manifest.text(edited(built, tensorrt={"version": "99.2"})))
    done = CliRunner().invoke(
        app, ["inspect", str(tmp_path / "model.plan"), "--tensorrt", "tensorrt_rtx"]
    )
    assert done.exit_code == 0, done.output
    assert "may not run here: built by tensorrt_rtx 99.2, here is tensorrt_rtx" in done.output
    assert "build it again: tripoint build model.onnx -o model.plan --input" in done.output


def test_model_that_was_in_memory_is_spelled_model(plain):
    content = edited(plain, model={"path": None}, tensorrt={"version": "1.5"})
    assert "build MODEL -o" in manifest.rebuild(content, manifest.Machine(OURS, (A4000,)))


def test_builds_of_one_model_in_memory_are_alike(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(STAND_IN)
    texts = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        plan = tmp_path / name / "a.plan"
        asked = options.BuildOptions(timing_cache="off")
        builder.build(Model(eca()), plan, tensorrt="tensorrt_rtx", options=asked)
        texts.add(manifest.path_for(plan).read_text())
    assert len(texts) == 1
