"""Options of a build: each is set and read back, or refused by name before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from tests.helpers.building import STAND_IN, eca, names, saved
from tests.helpers.marks import RTX, needs_rtx
from tripoint.cli import app
from tripoint.engine import builder, manifest, options
from tripoint.errors import InputError, OutputError, UsageError
from tripoint.model import Model
from tripoint.profiles.profile import InputProfile, Profile


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Builds a model with the stand-in and gives the result and the manifest."""
    monkeypatch.syspath_prepend(STAND_IN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = saved(tmp_path)

    def call(*arguments, tensorrt="tensorrt_rtx", **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        words = ["build", model, "-q", "--tensorrt", tensorrt, *arguments]
        done = CliRunner().invoke(app, [str(word) for word in words])
        beside = tmp_path / "model.manifest.json"
        return done, manifest.read(beside) if done.exit_code == 0 else None

    return call


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "my plugin.so"
    path.write_bytes(b"plugin code")
    return path


ACCEPTED = [
    ("--optimization-level 5", "optimization_level", 5),
    ("--pool workspace=64 --pool TACTIC-DRAM=1", "memory_pools", None),
    ("--workspace 64", "memory_pools", {"workspace": 64 << 20}),
    ("--hardware-compatibility ampere+", "hardware_compatibility", "ampere_plus"),
    ("--hardware-compatibility AMPERE-PLUS", "hardware_compatibility", "ampere_plus"),
    ("--version-compatible", "version_compatible", True),
    ("--refit", "refit", True),
    ("--strip-weights", "strip_weights", True),
    ("--no-tf32", "tf32", False),
]


@pytest.mark.parametrize(("arguments", "flag", "value"), ACCEPTED)
def test_option_is_set_and_read_back(run, tmp_path, arguments, flag, value):
    done, content = run(*arguments.split())
    assert done.exit_code == 0, done.stderr
    if value is None:
        value = {"workspace": 64 << 20, "tactic_dram": 1 << 20}
    assert content["flags"][flag] == value
    set_flags = json.loads((tmp_path / "model.plan").read_bytes())["flags"]
    asked = {"version_compatible", "refit", "strip_weights"} & {flag}
    assert len(set_flags) == (0 if flag == "tf32" else 1) + len(asked)


REFUSED = [
    ("--optimization-level 5", "builder_optimization_level", "has no optimization levels"),
    ("--hardware-compatibility ampere+", "hardware_compatibility_level", "has no hardware comp"),
    ("--hardware-compatibility turing", "", "has no such level\n  next: it has ampere_plus, none"),
    ("--version-compatible", "VERSION_COMPATIBLE", "has no such builder flag"),
    ("--version-compatible", "VERSION_COMPATIBLE:set", "does not take it"),
    ("--refit", "trial", "cannot build a single layer with it"),
    ("--strip-weights", "STRIP_PLAN", "has no such builder flag"),
    ("--pool dla=4", "", "has no such memory pool\n  next: it has tactic_dram, workspace"),
    ("--timing-cache times", "timing_cache", "keeps no timing cache"),
]


@pytest.mark.parametrize(("arguments", "lacks", "message"), REFUSED)
def test_option_that_this_tensorrt_lacks(run, tmp_path, arguments, lacks, message):
    before = names(tmp_path)
    done, _ = run(*arguments.split(), STAND_IN_LACKS=lacks)
    assert done.exit_code == 2
    option = arguments.split()[0]
    assert f"{option}" in done.stderr.splitlines()[0]
    assert "tensorrt_rtx 99.1" in done.stderr
    assert message in done.stderr
    assert names(tmp_path) == before


@needs_rtx
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--pool dla_local_dram=3", "Setting DLA memory pool size"),
        ("--pool nonsense=3", "it has dla_global_dram"),
        ("--optimization-level 9", "makes it 5"),
        ("--hardware-compatibility ampere-plus", "does not take it"),
        ("--version-compatible", "whose library is not installed here"),
        ("--timing-cache times", "timing cache operations are no-ops"),
    ],
)
def test_option_that_tensorrt_rtx_lacks(run, tmp_path, arguments, message):
    before = names(tmp_path)
    done, _ = run(*arguments.split(), tensorrt=RTX)
    assert done.exit_code == 2
    assert RTX in done.stderr
    assert message in done.stderr
    assert names(tmp_path) == before


@needs_rtx
def test_options_that_tensorrt_rtx_has(run):
    pools = ("--pool", "workspace=64", "--pool", "tactic-shared-memory=1")
    done, content = run(*pools, "--optimization-level", 4, tensorrt=RTX)
    assert done.exit_code == 0, done.stderr
    assert content["flags"]["memory_pools"] == {
        "workspace": 64 << 20,
        "tactic_shared_memory": 1 << 20,
    }
    assert content["flags"]["optimization_level"] == 4
    assert content["timing_cache"]["location"] is None
    assert "no-ops" in content["timing_cache"]["reason"]
    assert "timing cache: none; " in done.stdout


@needs_rtx
def test_limit_that_is_too_small_says_so(run, tmp_path):
    before = names(tmp_path)
    done, _ = run("--workspace", 1, tensorrt=RTX)
    assert done.exit_code == 4
    assert "within workspace limit" in done.stderr
    assert "next: raise or leave out --pool workspace=MIB" in done.stderr
    assert names(tmp_path) == before


# Values that no TensorRT takes


@pytest.mark.parametrize("text", ["workspace", "=4", "workspace=0", "workspace=-1", "workspace=1G"])
def test_pool_that_cannot_be_read(text):
    with pytest.raises(UsageError, match="cannot read pool"):
        options.parse_pools([text])


def test_pool_that_is_given_twice():
    with pytest.raises(UsageError, match="workspace is given twice"):
        options.parse_pools(["workspace=1", "WORKSPACE=2"])


# Plugins


def test_plugin_is_loaded_and_kept_in_the_manifest(run, plugin):
    done, content = run("--plugin", plugin)
    assert done.exit_code == 0, done.stderr
    (kept,) = content["flags"]["plugins"]
    assert kept["file"] == "my plugin.so"
    assert len(kept["sha256"]) == 64


def test_library_without_plugins(run, plugin, tmp_path):
    plugin.write_bytes(b"something else")
    done, _ = run("--plugin", plugin)
    assert done.exit_code == 2
    assert "tensorrt_rtx 99.1 cannot load plugins from my plugin.so" in done.stderr
    assert not (tmp_path / "model.plan").exists()


@needs_rtx
def test_library_that_is_none_for_tensorrt_rtx(run, plugin):
    done, _ = run("--plugin", plugin, tensorrt=RTX)
    assert done.exit_code == 2
    assert "cannot load plugins from my plugin.so" in done.stderr


@pytest.mark.parametrize("name", ["none.so", "."])
def test_plugin_path_is_checked_before_anything_starts(tmp_path, name):
    asked = options.BuildOptions(plugins=(tmp_path / name,))
    with pytest.raises(InputError, match=r"no such file|no file"):
        builder.build(Model(eca()), tmp_path / "a.plan", options=asked)


def test_no_plugin_is_loaded_unasked(run, plugin, tmp_path):  # noqa: ARG001 - it lies beside
    _, content = run()
    assert content["flags"]["plugins"] == []


# The timing cache


def cached(folder: Path) -> list[Path]:
    return sorted((folder / "cache").rglob("*"))


def test_timing_cache_is_kept_for_each_version_and_gpu(run, tmp_path):
    done, content = run()
    path = tmp_path / "cache" / "tripoint" / "timing" / "tensorrt_rtx-99.1-default.timing"
    assert content["timing_cache"] == {"location": str(path), "reason": None}
    assert f"timing cache: {path}" in done.stdout
    assert json.loads(path.read_bytes()) == ["a"]
    done, _ = run("--force", STAND_IN_TIME="b")
    assert json.loads(path.read_bytes()) == ["a", "b"]
    assert names(path.parent) == [path.name]


def test_timing_cache_can_be_a_file_or_off(run, tmp_path):
    done, content = run("--timing-cache", tmp_path / "times")
    assert json.loads((tmp_path / "times").read_bytes()) == ["a"]
    assert content["timing_cache"]["location"] == str(tmp_path / "times")
    done, content = run("--timing-cache", "off", "--force")
    assert content["timing_cache"] == {"location": None, "reason": "it was turned off"}
    assert "timing cache: none; it was turned off" in done.stdout
    assert cached(tmp_path) == []


def test_timing_cache_that_is_none_is_begun_anew(run, tmp_path):
    (tmp_path / "times").write_text("not times")
    done, _ = run("--timing-cache", tmp_path / "times")
    assert done.exit_code == 0
    assert "is begun anew" in done.stdout
    assert json.loads((tmp_path / "times").read_bytes()) == ["a"]


def test_timing_cache_that_cannot_be_saved_does_not_lose_the_engine(run, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder belongs")
    done, _ = run()
    assert done.exit_code == 0
    assert "was not saved" in done.stdout
    assert (tmp_path / "model.plan").exists()


def test_lack_of_a_timing_cache_is_no_error_unless_asked_for(run):
    done, content = run(STAND_IN_LACKS="timing_cache")
    assert done.exit_code == 0
    assert content["timing_cache"]["location"] is None
    assert "its timing cache operations are no-ops" in done.stdout


@pytest.mark.parametrize("name", [".", "none/times"])
def test_timing_cache_that_cannot_be_a_file(tmp_path, name):
    asked = options.BuildOptions(timing_cache=tmp_path / name)
    with pytest.raises(OutputError, match="folder"):
        builder.build(Model(eca()), tmp_path / "a.plan", options=asked)


@pytest.mark.parametrize(
    ("configured", "expected"), [("/x", "/x"), ("relative", "HOME/.cache"), ("", "HOME/.cache")]
)
def test_cache_folder_follows_xdg(monkeypatch, tmp_path, configured, expected):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", configured)
    expected = expected.replace("HOME", str(tmp_path))
    assert options.cache_folder() == Path(expected) / "tripoint"


# Profiles


def test_each_profile_is_added_and_values_are_values(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(STAND_IN)
    model = Model(
        ir.from_onnx_text(
            """<ir_version: 8, opset_import: ["": 17]>
            g (float[N,3] x, int64[2] size) => (float[A,B] y) { y = Expand (x, size) }"""
        )
    )
    profiles = [
        Profile(
            (
                InputProfile("x", (1, 3), (end, 3), (end, 3)),
                InputProfile("size", (1, 3), (end, 3), (end, 3), values=True),
            )
        )
        for end in (4, 8)
    ]
    result = builder.build(
        model, tmp_path / "a.plan", profiles=profiles, tensorrt="tensorrt_rtx",
        options=options.BuildOptions(timing_cache="off"),
    )  # fmt: skip
    added = json.loads((tmp_path / "a.plan").read_bytes())["profiles"]
    assert [p["x"] for p in added] == [["shape", [1, 3], [n, 3], [n, 3]] for n in (4, 8)]
    assert [p["size"] for p in added] == [["values", [1, 3], [n, 3], [n, 3]] for n in (4, 8)]
    assert len(result.manifest["profiles"]) == len(result.profiles) == 2
    assert result.manifest["profiles"][1][1]["values"] is True


def test_shape_input_without_values(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(STAND_IN)
    model = Model(
        ir.from_onnx_text(
            """<ir_version: 8, opset_import: ["": 17]>
            g (float[1,3] x, int64[2] size) => (float[A,B] y) { y = Expand (x, size) }"""
        )
    )
    with pytest.raises(UsageError, match="input 'size' is a shape tensor"):
        builder.build(model, tmp_path / "a.plan", tensorrt="tensorrt_rtx")
    assert names(tmp_path) == []


@needs_rtx
def test_several_profiles_with_tensorrt_rtx(tmp_path):
    profiles = [
        Profile((InputProfile("x", (1, 3, 5, 5), (n, 3, 5, 5), (n, 3, 5, 5)),)) for n in (2, 8)
    ]
    result = builder.build(Model(eca("N")), tmp_path / "a.plan", profiles=profiles, tensorrt=RTX)
    assert [p[0]["max"][0] for p in result.manifest["profiles"]] == [2, 8]


# Inputs


@pytest.mark.parametrize("which", ["model", "plugin", "cache"])
def test_result_never_replaces_what_goes_into_the_build(run, tmp_path, plugin, which):
    cache = tmp_path / "times"
    cache.write_text("")
    target = {"model": tmp_path / "model.onnx", "plugin": plugin, "cache": cache}[which]
    before = target.read_bytes()
    done, _ = run(*("-o", target, "--force", "--plugin", plugin, "--timing-cache", cache))
    assert done.exit_code == 2
    assert "is the input itself" in done.stderr
    assert target.read_bytes() == before
