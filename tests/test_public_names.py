"""Names and JSON keys that users rely on are those that were recorded, or more."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

import tripoint
import tripoint.testing
from tests.helpers.marks import needs_tensorrt
from tests.helpers.paths import SNAPSHOTS
from tripoint.cli import app

RECORD = SNAPSHOTS / "public.json"
MODEL = """<ir_version: 8, opset_import: ["": 13]>
net (float[1,3,4,4] x) => (float[1,3,4,4] y) { y = Relu (x) }"""
COMMANDS = {
    "shapes": ["shapes", "m.onnx", "--target", "7.1"],
    "why": ["why", "m.onnx", "y", "--target", "7.1"],
    "fix": ["fix", "m.onnx", "--target", "7.1", "--dry-run", "-q"],
    "inspect": ["inspect", "m.onnx", "--target", "7.1"],
    "profile": ["profile", "m.onnx"],
    "verify": ["verify", "m.onnx", "-q"],
    "locate": ["locate", "m.onnx", "--fixed", "m.onnx", "-q"],
    "doctor": ["doctor"],
    "build": ["build", "m.onnx", "-o", "m.plan", "-q"],
    "run": ["run", "m.onnx", "-o", "out", "--target", "7.1", "-q"],
}


def paths(value: Any, at: str = "") -> set[str]:
    """Each key of a document with those around it; entries of a list are one place."""
    if isinstance(value, dict):
        below = {path for key, each in value.items() for path in paths(each, f"{at}.{key}")}
        return below | ({at} if at else set())
    if isinstance(value, list):
        return {path for each in value for path in paths(each, f"{at}[]")} | {at}
    return {at}


def keys_of(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.chdir(folder)
    onnx.save(onnx.parser.parse_model(MODEL), folder / "m.onnx")
    result = CliRunner().invoke(app, [*COMMANDS[command], "--format", "json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    # Which packages are installed is no matter of the keys.
    for data in ("environment", "packages"):
        document[data] = {} if data in document else None
    return paths(document)


def names() -> dict[str, dict[str, list[str]]]:
    """Public names, with their parameters."""
    found: dict[str, dict[str, list[str]]] = {"tripoint": {}, "tripoint.testing": {}}
    for module in (tripoint, tripoint.testing):
        offered = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
        ]
        for name in sorted(offered):
            value = getattr(module, name)
            parameters = inspect.signature(value).parameters if callable(value) else ()
            found[module.__name__][name] = list(parameters)
    return found


def test_public_names_are_as_recorded() -> None:
    recorded = json.loads(RECORD.read_text())["names"]
    now = names()
    for module, offered in recorded.items():
        for name, parameters in offered.items():
            assert name in now[module], f"{module}.{name} is gone"
            gone = set(parameters) - set(now[module][name])
            # The main job used to take its options by **options.
            assert gone <= {"options"}, f"{module}.{name} no longer takes {sorted(gone)}"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(each, marks=needs_tensorrt if each in ("build", "run", "doctor") else ())
        for each in COMMANDS
    ],
)
def test_json_keys_are_as_recorded(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = set(json.loads(RECORD.read_text())["keys"][command])
    assert recorded - keys_of(command, tmp_path, monkeypatch) == set()


def test_functions_have_one_meaning_at_the_package() -> None:
    # A module of the package with the name of a function would take its place once imported.
    program = (
        "import tripoint\n"
        "for name in tripoint.__all__ * 2: getattr(tripoint, name)\n"
        "print([n for n in tripoint.__all__ if type(getattr(tripoint, n)).__name__ == 'module'])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
