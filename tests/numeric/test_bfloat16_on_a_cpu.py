"""Graphs of bfloat16, for which ONNX Runtime has no kernels on a CPU: computed in float32."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from typer.testing import CliRunner

import tripoint
from tripoint.api.arguments import as_torch
from tripoint.cli import app
from tripoint.model import Model
from tripoint.numeric.in_float32 import SAID
from tripoint.numeric.ort import Session
from tripoint.numeric.torch_arrays import to_array
from tripoint.timing.legs import OnnxRuntimeLeg

pytestmark = pytest.mark.needs_torch

RUNNER = CliRunner()
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def graph(text: str, opset: int = 24) -> Model:
    header = f'<ir_version: 11, opset_import: ["" : {opset}]>\n'
    return Model(ir.from_proto(onnx.parser.parse_model(header + text)))


def rounded(array: np.ndarray) -> np.ndarray:
    return array.astype(BFLOAT16).astype(np.float32)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(BFLOAT16)


def test_each_result_is_rounded() -> None:
    model = graph(
        "g (bfloat16[9] x) => (bfloat16[9] y) { a = Mul (x, x) b = Sin (a) y = Mul (b, x)}"
    )
    session = Session(model)
    x = normal(9)
    (y,) = session.run({"x": x})
    wide = x.astype(np.float32)
    expected = rounded(rounded(np.sin(rounded(wide * wide))) * wide)
    assert y.dtype == BFLOAT16
    np.testing.assert_array_equal(y.astype(np.float32), expected)
    assert session.notes == [SAID]


def test_what_has_kernels_is_left_alone() -> None:
    session = Session(
        graph("g (bfloat16[2,3] x) => (float[3,2] y) { a = Transpose (x) y = Cast <to = 1> (a)}")
    )
    x = normal(2, 3)
    np.testing.assert_array_equal(session.run({"x": x})[0], x.astype(np.float32).T)
    assert session.notes == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            """s = ReduceSum <keepdims = 0> (x) z = CastLike (zero, s) c = Greater (s, z)
            y = If (c) <then_branch = t () => (bfloat16[4] p) { p = Mul (x, x) },
                        else_branch = e () => (bfloat16[4] q) { q = Neg (x) }>""",
            lambda x: rounded(x * x) if x.sum() > 0 else -x,
        ),
        (
            """n = Constant <value = int64 {3}> () t = Constant <value = bool {1}> ()
            y = Loop (n, t, x) <body = b (int64 i, bool c, bfloat16[4] v)
              => (bool k, bfloat16[4] w) { k = Identity (c) w = Mul (v, x) }>""",
            lambda x: rounded(rounded(rounded(x * x) * x) * x),
        ),
        (
            """n = Shape (x) h = ConstantOfShape <value = bfloat16[1] {16128}> (n)
            y = Add (x, h)""",
            lambda x: rounded(x + 0.5),
        ),
        ("v, i = TopK (x, two) m = Cast <to = 16> (i) y = Concat <axis = 0> (v, m)", None),
    ],
    ids=["If", "Loop", "ConstantOfShape", "TopK"],
)
def test_graphs_inside_and_types_in_attributes(body: str, expected: object) -> None:
    model = graph(
        "g (bfloat16[4] x) => (bfloat16[4] y) <float zero = {0.0}, int64[1] two = {2}> {"
        + body
        + "}"
    )
    x = normal(4, seed=3)
    session = Session(model)
    (y,) = session.run({"x": x})
    assert session.notes == [SAID]
    wide = x.astype(np.float32)
    if callable(expected):
        np.testing.assert_array_equal(y.astype(np.float32), expected(wide))
    else:
        order = np.argsort(-wide, kind="stable")[:2]
        np.testing.assert_array_equal(y.astype(np.float32), [*wide[order], *order])


def test_quantization_gives_bfloat16() -> None:
    model = graph(
        "g (bfloat16[8] x) => (bfloat16[8] y) <bfloat16 s = {15872}, int8 z = {0}> {"
        "q = QuantizeLinear (x, s, z) d = DequantizeLinear <output_dtype = 16> (q, s, z) "
        "y = Mul (d, d)}"
    )
    x = normal(8)
    steps = np.round(x.astype(np.float32) / 0.125) * 0.125
    (y,) = Session(model).run({"x": x})
    np.testing.assert_array_equal(y.astype(np.float32), rounded(steps * steps))


def test_a_graph_that_is_wrong_stays_wrong() -> None:
    model = graph("g (bfloat16[9] x) => (bfloat16[9] y) { y = NoSuchOperator (x) }")
    with pytest.raises(tripoint.TripointError, match="NoSuchOperator"):
        Session(model)


def test_time_without_kernels_is_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    ir.save(graph("g (bfloat16[9,9] x) => (bfloat16[9,9] y) { y = MatMul (x, x) }").ir, path)
    with pytest.raises(tripoint.TripointError, match="no bfloat16 kernels on a CPU") as refused:
        OnnxRuntimeLeg(path, {"x": np.ones((9, 9), ml_dtypes.bfloat16)})
    assert refused.value.hint is not None


MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, factor):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.register_buffer("up", torch.randn(8, 32, generator=draw) / 3)
        self.register_buffer("down", torch.randn(32, 4, generator=draw) / 6 * factor)

    def forward(self, x):
        return nn.functional.layer_norm((x @ self.up).relu(), (32,)) @ self.down

def good():
    return Net(1.0).to(torch.bfloat16)

def bad():
    return Net(1.5).to(torch.bfloat16)
"""

NET = """g (bfloat16[2,8] x) => (bfloat16[2,4] y) {
  a = MatMul (x, up) b = Relu (a) c = LayerNormalization (b, scale) y = MatMul (c, down)}"""


def command(*arguments: object) -> tuple[int, str]:
    """Exit code and output, with one blank for any others."""
    result = RUNNER.invoke(app, [str(each) for each in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def by_hand(tmp_path: Path) -> tuple[Path, Path]:
    """The module, and the graph with its weights."""
    code, file = tmp_path / "m.py", tmp_path / "m.onnx"
    code.write_text(MODULE)
    proto = onnx.parser.parse_model(f'<ir_version: 11, opset_import: ["" : 24]>\n{NET}')
    weights = as_torch(f"{code}:good").module.state_dict()
    weights["scale"] = torch.ones(32, dtype=torch.bfloat16)
    for name, tensor in weights.items():
        raw = ir.Tensor(to_array(tensor), name=name, dtype=ir.DataType.BFLOAT16)
        proto.graph.initializer.append(ir.to_proto(raw))
    onnx.save(proto, file)
    return code, file


def test_verify_and_locate(by_hand: tuple[Path, Path]) -> None:
    code, file = by_hand
    status, said = command("verify", file, "--torch", f"{code}:good", "-q")
    assert status == 0
    assert "compared PyTorch, ONNX Runtime at 3 points, all equal" in said
    assert said.count(SAID) == 1
    status, said = command("verify", file, "--torch", f"{code}:bad", "-q")
    assert (status, "verdict: different" in said) == (1, True)
    status, said = command("locate", file, "--torch", f"{code}:bad", "-q")
    assert (status, SAID in said) == (1, True)
    assert "output y is different" in said


def test_fix_proves_in_float32_what_it_rewrites(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = graph(
        """g (bfloat16[1,4,5,5] x) => (bfloat16[1,4,5,5] y)
        <bfloat16[1,1,3] w = {16128, 16256, 48768}, int64[1] last = {3}, int64[1] middle = {2}> {
          a = GlobalAveragePool (x) b = Squeeze (a, last) c = Transpose <perm = [0, 2, 1]> (b)
          d = Conv <pads = [1, 1]> (c, w) e = Transpose <perm = [0, 2, 1]> (d)
          f = Unsqueeze (e, last) g = Sigmoid (f) y = Mul (x, g)}"""
    )
    ir.save(model.ir, path)
    status, said = command("fix", path, "-o", tmp_path / "f.onnx", "-q", "--target", "8.4")
    assert (status, "conv1d-between-squeezes" in said) == (0, True)
    assert SAID in said
