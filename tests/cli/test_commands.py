"""The command line: formats, exit codes, bad input, and what is left behind."""

from __future__ import annotations

import contextlib
import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner, Result

import tripoint
from tests.helpers.graphs import GRAPH_A
from tests.helpers.marks import needs_tensorrt
from tests.helpers.paths import SNAPSHOTS
from tripoint.cli import app, console
from tripoint.engine.progress import Phase
from tripoint.trt import bindings, gpu
from tripoint.views.importers import SUPPORTED

STATIC = """<ir_version: 8, opset_import: ["": 13]>
net (float[1,3,4,4] x) => (float[1,3,4,4] y) { y = Relu (x) }"""
DYNAMIC = STATIC.replace("[1,3,4,4]", "[N,3,4,4]")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def static(tmp_path: Path) -> Path:
    path = tmp_path / "static.onnx"
    onnx.save(onnx.parser.parse_model(STATIC), path)
    return path


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    path = tmp_path / "dynamic.onnx"
    onnx.save(onnx.parser.parse_model(DYNAMIC), path)
    return path


@contextlib.contextmanager
def nothing_written(folder: Path) -> Iterator[None]:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    created = {path for path in after if "__pycache__" not in path.parts}
    assert created == set(before), created ^ set(before)
    assert all(after[path] == content for path, content in before.items())


def refused(result: Result, code: int, *texts: str) -> None:
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    for text in texts:
        assert text in result.stderr, result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.splitlines()) <= 24


# --- formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("shapes", ["shapes", "graph_a.onnxtxt", "--target", "7.1"]),
        ("shapes-lost-only", ["shapes", "graph_a.onnxtxt", "--target", "7.1", "--lost-only"]),
        ("shapes-diff", ["shapes", "graph_a.onnxtxt", "--diff", "7.1,8.0"]),
        ("why", ["why", "graph_a.onnxtxt", "15", "--target", "7.1"]),
        ("why-not-lost", ["why", "graph_a.onnxtxt", "12", "--target", "7.1"]),
        ("log", ["log", "eca.log"]),
        ("inspect", ["inspect", "graph_a.onnxtxt", "--target", "7.1"]),
        (
            "fix",
            [
                "fix",
                "graph_a.onnxtxt",
                "--target",
                "7.1",
                "--dry-run",
                "--diff",
                "-q",
                "--no-numeric-proof",
            ],
        ),
    ],
)
@pytest.mark.parametrize("output_format", ["text", "json"])
def test_snapshots(
    cli: Callable[..., Result], tmp_path: Path, name: str, arguments: list[str], output_format: str
) -> None:
    (tmp_path / "graph_a.onnxtxt").write_text(GRAPH_A.read_text())
    cli("shapes", "graph_a.onnxtxt", "--target", "7.1", "--as-log", "--output-file", "eca.log")
    result = cli(*arguments, "--format", output_format)
    assert result.exit_code == 0, result.output
    shown = result.stdout
    if output_format == "json":
        document = json.loads(shown)
        assert document["command"] == name.split("-")[0]
        assert document["tool"] == {"name": "tripoint", "version": tripoint.__version__}
        del document["environment"], document["tool"]
        shown = json.dumps(document, indent=1) + "\n"
    path = SNAPSHOTS / f"{name}.{output_format}"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
        pytest.fail(f"{path.name} was missing and has been written; read it and run again")
    assert shown == path.read_text(encoding="utf-8")


KEYS = {
    "shapes": {"schema_version", "command", "tool", "environment", "model", "target", "inputs"}
    | {"outputs", "tensors", "summary"},
    "fix": {"model", "applied", "refused", "before", "after", "renamed"},
    "verify": {"verdict", "legs", "points", "permutation", "metamorphic"},
    "build": {"engine", "manifest", "network", "profile"},
    "doctor": {"packages", "tensorrt", "gpus", "legs"},
}


@needs_tensorrt
def test_json_keys_of_the_design(cli: Callable[..., Result], static: Path) -> None:
    for command, options in (
        ("shapes", []),
        ("fix", ["--dry-run"]),
        ("verify", []),
        ("build", []),
    ):
        result = cli(command, static, "--format", "json", *options)
        assert result.exit_code == 0, result.output
        assert KEYS[command] <= json.loads(result.stdout).keys()
    assert KEYS["doctor"] <= json.loads(cli("doctor", "--json").stdout).keys()


def test_output_file_is_not_replaced_without_force(
    cli: Callable[..., Result], static: Path, tmp_path: Path
) -> None:
    target = tmp_path / "table.json"
    call = ("shapes", static, "--target", "7.1", "--format", "json", "--output-file", target)
    assert cli(*call).exit_code == 0
    first = target.read_text()
    refused(cli(*call), 2, "exists", "--force")
    assert cli(*call, "--force").exit_code == 0
    assert target.read_text() == first


def test_progress_goes_to_stderr_and_quiet_silences_it(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    call = ("fix", GRAPH_A, "--target", "7.1", "-o", tmp_path / "fixed.onnx", "--force")
    loud, quiet = cli(*call), cli(*call, "-q")
    assert "redundant-expand: 14" in loud.stderr
    assert quiet.stderr == ""
    assert quiet.stdout == loud.stdout


def test_importing_and_asking_for_the_version_is_light() -> None:
    program = (
        "import sys, tripoint, tripoint.cli\n"
        "try: tripoint.cli.app(['--version'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', 'tensorrt_rtx_bindings',\n"
        "         'onnx', 'onnx_ir', 'numpy', 'sympy', 'scipy', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == [f"tripoint {tripoint.__version__}", "[]"]


def test_the_functions_load_what_they_need_when_they_are_called() -> None:
    program = (
        "import sys; from tripoint import api\n"
        "heavy = {'torch', 'onnxruntime', 'onnxscript', 'scipy', 'tensorrt', 'tensorrt_rtx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


def test_every_public_name_can_be_imported() -> None:
    for name in tripoint.__all__:
        assert getattr(tripoint, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_that"):
        _ = tripoint.nothing_like_that


def test_names_cannot_steer_the_terminal(cli: Callable[..., Result], tmp_path: Path) -> None:
    model = onnx.parser.parse_model(STATIC)
    evil = "y\x1b[2J\x1b]0;owned\x07\u202eevil"
    model.graph.node[0].output[0] = evil
    model.graph.output[0].name = evil
    onnx.save(model, tmp_path / "evil.onnx")
    for command in (["shapes"], ["inspect"], ["fix", "--dry-run", "--diff"]):
        result = cli(*command, tmp_path / "evil.onnx", "--target", "7.1")
        assert result.exit_code == 0, result.output
        assert not set(result.output) & {"\x1b", "\x07", "\u202e"}
    assert "\\x1b" in cli("shapes", tmp_path / "evil.onnx", "--target", "7.1").output
    error = cli("why", tmp_path / "evil.onnx", "no\x1b[31m", "--target", "7.1")
    assert "\x1b" not in error.stderr


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["shapes", "fix", "build", "verify", "inspect"])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"\x08\x08\x12\x07pytorch", "truncated"),
        (b"<html></html>", "not an ONNX file"),
        (onnx.parser.parse_model(STATIC.replace("(x) }", "(z) }")).SerializeToString(), "'z'"),
    ],
)
def test_files_that_are_no_models(
    cli: Callable[..., Result], tmp_path: Path, command: str, content: bytes | None, text: str
) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    with nothing_written(tmp_path):
        refused(cli(command, path), 2, text, "bad.onnx", command)


@pytest.mark.parametrize(
    ("location", "text"),
    [("weights.bin", "is missing"), ("../weights.bin", "outside"), ("/etc/passwd", "outside")],
)
def test_external_data(
    cli: Callable[..., Result], tmp_path: Path, location: str, text: str
) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13]> g (float[4] x) => (float[4] y) '
        "<float[4] w = {1, 2, 3, 4}> { y = Add (x, w) }"
    )
    weight = model.graph.initializer[0]
    weight.raw_data = b"\0" * 16
    weight.ClearField("float_data")
    onnx.external_data_helper.set_external_data(weight, location=location, offset=0, length=16)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    path = tmp_path / "inner" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())
    (tmp_path / "weights.bin").write_bytes(b"\0" * 16)
    with nothing_written(tmp_path):
        refused(cli("shapes", path), 2, text, repr(location))


PYTHON = """
import torch
raise_at_import = False
def fails():
    raise KeyError("weights")
def number():
    return 3
class Net(torch.nn.Module):
    def forward(self, x):
        return x + torch.ones(3)
"""


@pytest.mark.needs_torch
@pytest.mark.parametrize(
    ("reference", "inputs", "texts"),
    [
        ("net.py:missing", ["x:1x3"], ["no 'missing'", "it has fails, number, Net"]),
        ("net.py:fails", ["x:1x3"], ["KeyError", "weights", "net.py:5"]),
        ("net.py:number", ["x:1x3"], ["not a module"]),
        ("gone.py:Net", ["x:1x3"], ["no such file"]),
        ("net.py", ["x:1x3"], ["net.py:"]),
        ("no_such_package:Net", ["x:1x3"], ["no_such_package"]),
        ("net.py:Net", ["z:1x3"], ["no input named 'z'", "x"]),
        ("net.py:Net", ["x:1x4"], ["[1, 4]", "net.py:10"]),
        ("net.py:Net", ["x:1x3@complex64"], ["unknown dtype 'complex64'"]),
        ("net.py:Net", ["x:Nx3"], ["dimension N", "--dim N="]),
        ("net.py:Net", ["x:3..2..1x3"], ["min <= opt <= max"]),
        ("net.py:Net", ["x:1x3", "x:2x3"], ["given twice"]),
        ("net.py:Net", [], ["neither a shape nor an example"]),
    ],
)
def test_python_models_and_inputs(
    cli: Callable[..., Result],
    tmp_path: Path,
    reference: str,
    inputs: list[str],
    texts: list[str],
) -> None:
    (tmp_path / "net.py").write_text(PYTHON)
    options = [option for text in inputs for option in ("--input", text)]
    with nothing_written(tmp_path):
        refused(cli("run", reference, *options, "-o", tmp_path / "out", "-q"), 2, *texts)
    assert not (tmp_path / "out").exists()


@needs_tensorrt
def test_dynamic_input_without_a_range(
    cli: Callable[..., Result], dynamic: Path, tmp_path: Path
) -> None:
    for command in ("build", "verify", "run"):
        options = ["-o", tmp_path / "out"] if command == "run" else []
        with nothing_written(tmp_path):
            refused(cli(command, dynamic, *options, "-q"), 2, "axis 0, N", "--dim N=1..8..32")


def test_output_folder_that_cannot_be_written(
    cli: Callable[..., Result], static: Path, tmp_path: Path
) -> None:
    with nothing_written(tmp_path):
        refused(cli("run", static, "-o", static, "-q"), 2, "is a file, not a folder")
        refused(cli("run", static, "-o", static / "out", "-q"), 2, "cannot write")


def test_existing_results_are_kept(
    cli: Callable[..., Result], static: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.plan").write_text("mine")
    with nothing_written(tmp_path):
        refused(cli("run", static, "-o", tmp_path / "out", "-q"), 2, "model.plan exists")
        refused(cli("fix", static, "-o", static, "--force", "-q"), 2, "the input itself")
        refused(cli("fix", static, "-o", tmp_path / "out" / "model.plan", "-q"), 2, "exists")


def test_the_disk_is_full(
    cli: Callable[..., Result], static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with nothing_written(tmp_path):
        result = cli("fix", static, "--target", "7.1", "-o", tmp_path / "fixed.onnx", "-q")
        refused(result, 2, "the disk is full", "fixed.onnx")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_a_file_that_grows_too_large(tmp_path: Path) -> None:
    import resource

    target = tmp_path / "fixed.onnx"
    ran = subprocess.run(
        [sys.executable, "-m", "tripoint", "fix", GRAPH_A, "--target", "7.1", "-o", target, "-q"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2, ran.stderr
    assert "cannot write" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@needs_tensorrt
def test_interrupting_a_build(
    cli: Callable[..., Result], static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def interrupted(*, quiet: bool) -> Iterator[Callable[[Phase], None]]:
        def take(phase: Phase) -> None:
            if phase.parent:
                raise KeyboardInterrupt

        assert not quiet
        yield take

    monkeypatch.setattr(console, "build_progress", interrupted)
    with nothing_written(tmp_path):
        refused(cli("build", static), 130, "interrupted")


@needs_tensorrt
def test_a_killed_builder(
    cli: Callable[..., Result], static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    children: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def popen(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        child = start(*arguments, **options)
        children.append(child)
        return child

    @contextlib.contextmanager
    def killing(*, quiet: bool) -> Iterator[Callable[[Phase], None]]:  # noqa: ARG001
        yield lambda _: os.kill(children[-1].pid, signal.SIGKILL)

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(console, "build_progress", killing)
    with nothing_written(tmp_path):
        refused(cli("build", static), 4, "SIGKILL")


@needs_tensorrt
def test_a_build_that_takes_too_long(
    cli: Callable[..., Result], static: Path, tmp_path: Path
) -> None:
    with nothing_written(tmp_path):
        refused(cli("build", static, "--timeout", "0.01", "-q"), 4, "0.01 s", "--timeout")


@needs_tensorrt
def test_a_model_that_the_parser_refuses(cli: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "nonzero.onnx"
    onnx.save(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["": 13]> '
            "g (float[4] x) => (int64[1,K] y) { y = NonZero (x) }"
        ),
        path,
    )
    with nothing_written(tmp_path):
        refused(cli("build", path, "-q"), 4, "NonZero")
        seen = cli("shapes", path, "--target", "installed")
    assert seen.exit_code == 0
    assert "refuses or misreads 1 node:" in seen.stdout
    assert "NonZero" in seen.stdout
    ran = cli("run", path, "-o", tmp_path / "out", "-q")
    assert ran.exit_code == 4, ran.output
    assert "not built" in ran.stdout


def test_tensorrt_is_not_installed(
    cli: Callable[..., Result], static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bindings, "available", lambda: ())
    with nothing_written(tmp_path):
        for call in (
            ("build", static),
            ("shapes", static, "--target", "installed"),
            ("run", static, "-o", tmp_path / "out", "--target", "installed"),
        ):
            refused(cli(*call), 2, "TensorRT is installed", "pip install 'tripoint[rtx]'")
    result = cli("shapes", static)
    assert result.exit_code == 0
    assert f"target: TensorRT {SUPPORTED[-1]} (modelled)" in result.stdout
    whole = cli("run", static, "-o", tmp_path / "out", "-q")
    assert whole.exit_code == 0, whole.output
    assert "not built: no TensorRT is installed" in whole.stdout
    assert "verdict: unproven" in whole.stdout


def test_torch_is_not_installed(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(PYTHON)
    monkeypatch.setitem(sys.modules, "torch", None)
    with nothing_written(tmp_path):
        result = cli("run", "net.py:Net", "--input", "x:1x3", "-o", tmp_path / "out")
        refused(result, 2, "pip install 'tripoint[torch]'")


def test_unknown_names(cli: Callable[..., Result], static: Path, tmp_path: Path) -> None:
    with nothing_written(tmp_path):
        refused(cli("shapes", static, "--target", "6.0"), 2, "unknown target '6.0'", "7.1")
        refused(cli("run", static, "-o", "out", "--target", "6.0"), 2, "unknown target")
        refused(cli("fix", static, "--select", "magic", "--dry-run"), 2, "redundant-expand")
        refused(cli("why", static, "z", "--target", "7.1"), 2, "no tensor named 'z'")
        refused(cli("shapes", static, "--tensorrt", "trt"), 2, "tensorrt_rtx")
        refused(cli("verify", static, "--atol", "much"), 2, "--atol", "much")
        refused(cli("inspect", "none.plan"), 2, "no such file")
    assert cli("shapes").exit_code == 2
    assert cli("no-such-command").exit_code == 2


def test_debug_shows_the_traceback(cli: Callable[..., Result]) -> None:
    result = cli("shapes", "missing.onnx", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "no such file" in result.stderr


def test_a_bug_is_one_message(
    cli: Callable[..., Result], static: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(tripoint.api, "shapes", broken)
    refused(cli("shapes", static), 2, "tripoint broke: ZeroDivisionError: inside", "--debug")


# --- the main job ----------------------------------------------------------------------------


@pytest.mark.needs_torch
@needs_tensorrt
def test_run_writes_everything_and_says_what_was_not_run(
    cli: Callable[..., Result], tmp_path: Path, examples: Path
) -> None:
    out = tmp_path / "out"
    result = cli("run", f"{examples / 'eca.py'}:model", "--input", "x:1x3x5x5", "-o", out, "-q")
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {
        *("model.onnx", "model.fixed.onnx", "model.plan", "model.manifest.json", "report.json")
    }
    report = json.loads((out / "report.json").read_text())
    assert report["fix"]["before"]["nodes"] == 11
    assert report["fix"]["after"]["nodes"] == 8
    assert all(entry["proof"]["symbolic"] == "holds" for entry in report["fix"]["applied"])
    assert all(len(entry["proof"]["numeric"]["points"]) >= 3 for entry in report["fix"]["applied"])
    assert "lost dims 0 -> 0" in result.stdout
    if gpu.absence():
        assert report["verdict"] == "unproven"
        assert "TensorRT was not run" in result.stdout
    strict = cli(
        *("run", f"{examples / 'eca.py'}:model", "--input", "x:1x3x5x5", "-o", out, "-q"),
        *("--force", "--strict"),
    )
    assert strict.exit_code == (3 if gpu.absence() else 0)


@needs_tensorrt
def test_run_on_a_file_with_external_data(cli: Callable[..., Result], tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13]> g (float[N,4] x) => (float[N,4] y) '
        "<float[4] w = {1, 2, 3, 4}> { s = Shape(x) e = Expand(w, s) y = Mul(x, e) }"
    )
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "w"))
    (tmp_path / "in").mkdir()
    onnx.save(
        *(model, tmp_path / "in" / "model.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    before = (tmp_path / "in" / "weights.bin").read_bytes()
    call = ("run", tmp_path / "in" / "model.onnx", "--dim", "N=1..2..4", "-o", tmp_path / "out")
    for options in ([], ["--force"]):
        result = cli(*call, "-q", *options)
        assert result.exit_code == 0, result.output
        assert "redundant-expand" in result.stdout
    assert (tmp_path / "out" / "weights.bin").read_bytes() == before
    for name in ("in/model.onnx", "out/model.onnx", "out/model.fixed.onnx"):
        onnx.load(tmp_path / name)
    refused(cli(*call, "-q"), 2, "model.onnx exists")


@pytest.mark.needs_torch
def test_verify_names_a_swap_and_a_missing_output(
    cli: Callable[..., Result], tmp_path: Path, examples: Path
) -> None:
    reference = f"{examples / 'three_outputs.py'}:model"
    path = tmp_path / "three.onnx"
    exported = cli("export", reference, "--input", "x:1x3x16x16", "-o", path, "-q")
    assert exported.exit_code == 0, exported.output
    good = cli("verify", path, "--torch", reference, "-q")
    assert good.exit_code == 0, good.output

    model = onnx.load(path)
    names = {output.name: output for output in model.graph.output}
    rename = {"boxes": "anchors", "anchors": "boxes"}
    for node in model.graph.node:
        node.output[:] = [rename.get(name, name) for name in node.output]
    onnx.save(model, tmp_path / "swapped.onnx")
    swapped = cli("verify", tmp_path / "swapped.onnx", "--torch", reference, "-q")
    assert swapped.exit_code == 1
    assert "anchors holds boxes; boxes holds anchors" in swapped.stdout.replace(
        "boxes holds anchors; anchors holds boxes", "anchors holds boxes; boxes holds anchors"
    )

    model = onnx.load(path)
    model.graph.output.remove(next(o for o in model.graph.output if o.name == "scores"))
    onnx.save(model, tmp_path / "missing.onnx")
    missing = cli("verify", tmp_path / "missing.onnx", "--torch", reference, "-q")
    assert missing.exit_code == 1
    assert "output scores is missing" in missing.stdout
    assert set(names) == {"boxes", "scores", "anchors"}
