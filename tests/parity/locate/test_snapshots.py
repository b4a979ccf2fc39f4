"""What ``tripoint locate`` prints, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from tests.helpers.graphs import build
from tests.helpers.paths import SNAPSHOTS
from tripoint.cli import app
from tripoint.model import load, save
from tripoint.trt import gpu

pytestmark = pytest.mark.needs_torch

MODULE = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(4, 8)
        self.down = nn.Linear(8, 3)
        for index, weight in enumerate(self.parameters()):
            # Whole numbers, so that no sum depends on its order.
            torch.nn.init.constant_(weight, index + 1)

    def forward(self, x):
        h = torch.relu(self.up(x))
        h = h * 2
        return self.down(h)


def model():
    return Net(), torch.ones(2, 4)
"""
CONSTANTS = "float half = {0.5}, float one = {1.0}, float large = {30000.0}"
CHAIN = "a = Abs(x); b = Add(a, one); c = Mul(b, half); d = Neg(c); y = Floor(d)"
STRETCHED = (
    "a = Abs(x); b = Add(a, one); c = Mul(b, large); d = Mul(c, b); e = Sqrt(d); f = Mul(e, half); "
    "y = Neg(f)"
)


def chain(path: str, body: str = CHAIN) -> None:
    save(build(f"float[N,4] x | {CONSTANTS}", body, 18, "float[N,4] y"), Path(path))


def a_changed_model() -> list[str]:
    chain("model.onnx")
    chain("other.onnx", CHAIN.replace("Add(a, one)", "Sub(a, one)"))
    np.savez("in.npz", x=np.arange(8, dtype=np.float32).reshape(2, 4))
    return ["--against", "other.onnx", "--inputs", "in.npz", "-o", "repro"]


def a_branch() -> list[str]:
    for name, operator in (("model", "Neg"), ("other", "Abs")):
        body = (
            "s = ReduceSum<keepdims=0>(x); flag = Greater(s, half); b = If (flag) <"
            f"then_branch = g () => (float[N,4] t) {{ u = Add(x, one); t = {operator}(u) }}, "
            "else_branch = h () => (float[N,4] e) { e = Identity(x) }>; y = Floor(b)"
        )
        chain(f"{name}.onnx", body)
    np.savez("in.npz", x=np.arange(8, dtype=np.float32).reshape(2, 4))
    return ["--against", "other.onnx", "--inputs", "in.npz"]


def pytorch() -> list[str]:
    Path("net.py").write_text(MODULE)
    exported = CliRunner().invoke(app, ["export", "net.py:model", "-o", "export.onnx", "-q"])
    assert exported.exit_code == 0, exported.output
    model = load("export.onnx").ir
    next(node for node in model.graph if node.op_type == "Relu").op_type = "Neg"
    ir.save(model, "model.onnx")
    np.savez("in.npz", x=np.arange(8, dtype=np.float32).reshape(2, 4) - 3)
    return ["--torch", "net.py:model", "--inputs", "in.npz"]


def nothing() -> list[str]:
    chain("model.onnx")
    chain("other.onnx")
    return ["--against", "other.onnx", "--dim", "N=1..2..4"]


def no_gpu() -> list[str]:
    chain("model.onnx")
    return ["--build", "--dim", "N=2"]


def precision() -> list[str]:
    chain("model.onnx", STRETCHED)
    return ["--precision", "fp16", "--dim", "N=2"]


CASES: dict[str, tuple[Callable[[], list[str]], int]] = {
    "locate-culprit": (a_changed_model, 1),
    "locate-branch": (a_branch, 1),
    "locate-torch": (pytorch, 1),
    "locate-equal": (nothing, 0),
    "locate-unproven": (no_gpu, 0),
    "locate-precision": (precision, 1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("output_format", ["text", "json"])
def test_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, output_format: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu, "probe", lambda: gpu.Probe((), "no NVIDIA driver"))
    prepare, code = CASES[name]
    arguments = prepare()
    shown = run(["locate", "model.onnx", *arguments, "--format", output_format], code)
    if output_format == "json":
        # The last digits of a sum depend on the processor.
        document = json.loads(shown, parse_float=lambda text: float(f"{float(text):.4g}"))
        assert document["command"] == "locate"
        del document["environment"], document["tool"], document["model"]["sha256"]
        shown = json.dumps(document, indent=1) + "\n"
    for found, word in (
        (str(tmp_path), "FOLDER"),
        (onnxruntime.__version__, "VERSION"),
        (str(torch.__version__), "VERSION"),
    ):
        shown = shown.replace(found, word)
    path = SNAPSHOTS / f"{name}.{output_format}"
    if not path.exists():
        path.write_text(shown, encoding="utf-8")
        pytest.fail(f"{path.name} was missing and has been written; read it and run again")
    assert shown == path.read_text(encoding="utf-8")


def run(arguments: Sequence[str], code: int) -> str:
    result = CliRunner().invoke(app, [*arguments, "-q"])
    assert result.exit_code == code, result.output
    return result.stdout
