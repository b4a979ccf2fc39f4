"""What to export instead of quantization that TensorRT does not read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest
from typer.testing import CliRunner, Result

import tripoint
from tests.helpers.marks import RTX, needs_rtx
from tests.rewrites.test_quantized import CONV, quantized, sixteenth, weights
from tripoint.cli import app
from tripoint.errors import ExternalStepError
from tripoint.model import Model, save
from tripoint.spec import Range, Spec

T = ir.DataType
ONE = Spec(dims={"N": Range(1, 1, 1)})
CALL = "onnxruntime.quantization.quantize_static("
AT_RUN_TIME = "no TensorRT quantizes at run time"
OPERATORS = "no TensorRT reads quantized operators (QOperator)"
SIGNED = "quantize to a signed type around 0"
FIX = "`tripoint fix MODEL -o FIXED.onnx` "

DYNAMIC = """
  [dyn] q, s, z = DynamicQuantizeLinear(x)
  [conv] c = ConvInteger(q, w, z) f = Cast<to = 1>(c) y = Mul(f, s)"""
PRODUCT = """
  [dyn] q, s, z = DynamicQuantizeLinear(x)
  [prod] c = MatMulInteger(q, w, z) f = Cast<to = 1>(c) y = Mul(f, s)"""
LINEAR = """
  q = QuantizeLinear(x, s, z) [lin] c = QLinearConv(q, s, z, w, s, z, s, z)
  y = DequantizeLinear(c, s, z)"""
ADDED = """
  q = QuantizeLinear(x, s, z) [add] c = com.microsoft.QLinearAdd(q, s, z, q, s, z, s, z)
  y = DequantizeLinear(c, s, z)"""
PAIR = "[quant] q = QuantizeLinear(x, s, z) [deq] y = DequantizeLinear(q, s, z)"
BIAS = "w = DequantizeLinear(k, s) [bias] b = DequantizeLinear(i, s) y = Conv(x, w, b)"
WEIGHT = f"[deq] w = DequantizeLinear(k, s, z) {CONV}"

SMALL = {"w": (weights(-9, 9), T.INT8)}
HALF = {"s": (0.5, T.FLOAT)}
CASES: dict[str, tuple[Model, list[str], str]] = {
    "ConvInteger": (
        quantized(DYNAMIC, **SMALL),
        ["DynamicQuantizeLinear dyn", "ConvInteger conv"],
        AT_RUN_TIME,
    ),
    "MatMulInteger": (
        quantized(PRODUCT, w=(weights(-9, 9, (8, 4)), T.INT8)),
        ["DynamicQuantizeLinear dyn", "MatMulInteger prod"],
        AT_RUN_TIME,
    ),
    "QLinearConv": (
        quantized(LINEAR, **SMALL, **sixteenth(T.INT8, 0)),
        ["QLinearConv lin"],
        OPERATORS,
    ),
    "QLinearAdd": (quantized(ADDED, **sixteenth(T.INT8, 0)), ["QLinearAdd add"], OPERATORS),
    "bias": (
        quantized(BIAS, k=SMALL["w"], i=([1, 2, 3, 4], T.INT32), **HALF),
        ["DequantizeLinear bias"],
        f"{FIX}quantizes it",
    ),
    "zero point of a weight": (
        quantized(WEIGHT, k=SMALL["w"], **sixteenth(T.INT8, 3)),
        ["DequantizeLinear deq"],
        f"{FIX}quantizes it",
    ),
}


@pytest.mark.parametrize("target", [pytest.param("installed", marks=needs_rtx), "8.6", "10.1"])
@pytest.mark.parametrize("name", CASES)
def test_each_refusal_has_a_next_step(name: str, target: str) -> None:
    model, nodes, step = CASES[name]
    found = tripoint.shapes(model, target=target).refusals
    assert [f"{each.op} {each.node}" for each in found] == nodes
    assert {(each.next or "")[: len(step)] for each in found} == {step}


@needs_rtx
@pytest.mark.parametrize(
    ("kind", "zero", "nodes", "step"),
    [
        (T.UINT8, 128, ["QuantizeLinear quant"], f"{FIX}quantizes it in a way that TensorRT reads"),
        (T.UINT8, 100, ["QuantizeLinear quant"], SIGNED),
        (T.INT8, 3, ["QuantizeLinear quant"], SIGNED),
        # The parser warns, and takes it for int8.
        (T.UINT8, 0, ["QuantizeLinear quant"], SIGNED),
    ],
)
def test_a_pair_that_the_parser_does_not_read(
    kind: ir.DataType, zero: int, nodes: list[str], step: str
) -> None:
    model = quantized(PAIR, **sixteenth(kind, zero))
    found = tripoint.shapes(model, target="installed").refusals
    assert [f"{each.op} {each.node}" for each in found] == nodes
    assert [each.next for each in found] == [step]


@needs_rtx
def test_a_pair_that_the_parser_reads() -> None:
    assert not tripoint.shapes(quantized(PAIR, **sixteenth(T.INT8, 0)), target="installed").refusals


@needs_rtx
@pytest.mark.parametrize("zero", [128, 0, 100])
def test_rows_of_a_table_lead_further_only_where_that_is_said(zero: int) -> None:
    body = """
        i = Cast<to = 7>(x) g = Gather(e, i) d = DequantizeLinear(g, s, z)
        y = ReduceSum<keepdims = 0>(d, a)"""
    model = quantized(
        body, e=(weights(0, 256, (9, 4)), T.UINT8), a=([4], T.INT64), **sixteenth(T.UINT8, zero)
    )
    fixed = tripoint.fix(model, target="installed")
    (refusal,) = fixed.facts_before.table.refusals
    assert refusal.next is not None
    assert refusal.next.startswith(FIX) == (not fixed.facts_after.table.refusals)


@needs_rtx
@pytest.mark.parametrize("name", ["bias", "zero point of a weight"])
def test_fix_leads_further_where_that_is_said(name: str) -> None:
    fixed = tripoint.fix(CASES[name][0], target="installed")
    assert fixed.facts_before.table.refusals
    assert not fixed.facts_after.table.refusals


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    save(CASES["ConvInteger"][0], tmp_path / "m.onnx")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@needs_rtx
def test_every_command_says_it(cli: Callable[..., Result], tmp_path: Path) -> None:
    dims = ("--dim", "N=1")
    shapes = cli("shapes", "m.onnx").output
    assert f"next: DynamicQuantizeLinear (dyn), ConvInteger (conv): {AT_RUN_TIME}" in shapes
    assert shapes.count(CALL) == 1
    fix = cli("fix", "m.onnx", "-o", "f.onnx", "-q", *dims).output
    assert f"next: DynamicQuantizeLinear (dyn), ConvInteger (conv): {AT_RUN_TIME}" in fix
    assert fix.count(CALL) == 1
    modelled = cli("fix", "m.onnx", "-o", "g.onnx", "-q", "--target", "8.6", *dims).output
    assert "refuses or misreads 2 nodes:\n  DynamicQuantizeLinear: " in modelled
    assert modelled.count(CALL) == 1
    build = cli("build", "m.onnx", "-o", "m.plan", *dims)
    assert build.exit_code == 4
    assert re.search(r"node 'dyn' \(DynamicQuantizeLinear\).*\n  next: no TensorRT", build.output)
    assert CALL in build.output
    run = cli("run", "m.onnx", "-o", "out", "-q", *dims)
    assert run.output.count(f"{AT_RUN_TIME}") >= 1
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["before"]["refusals"][0]["next"].startswith(AT_RUN_TIME)
    assert CALL in report["build"]["not_built"]


@needs_rtx
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_a_convolution_in_int8_is_named(op: str, tmp_path: Path) -> None:
    body = f"""
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        w = DequantizeLinear(k, s, z) [first] y = {op}(d, w)"""
    shape = (32, 16, 3, 3) if op == "Conv" else (16, 32, 3, 3)
    model = quantized(body, k=(weights(-9, 9, shape), T.INT8), **sixteenth(T.INT8, 0))
    with pytest.raises(ExternalStepError) as raised:
        tripoint.build(model, tmp_path / "m.plan", spec=ONE, tensorrt=RTX)
    assert raised.value.subject == f"{op} `first`"
    assert "has no convolution in int8" in raised.value.fact
    assert "op_types_to_quantize=['MatMul', 'Gemm']" in (raised.value.hint or "")


@needs_rtx
def test_a_product_in_int8_builds(tmp_path: Path) -> None:
    body = """
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        w = DequantizeLinear(k, s, z) y = MatMul(d, w)"""
    model = quantized(body, k=(weights(-9, 9, (8, 32)), T.INT8), **sixteenth(T.INT8, 0))
    fixed = tripoint.fix(model, target="installed").model
    assert tripoint.build(fixed, tmp_path / "m.plan", spec=ONE, tensorrt=RTX).bytes


@pytest.mark.parametrize("target", ["8.0", "8.6", "10.1"])
@pytest.mark.parametrize("inputs", ["x, s", "x, s, z"])
def test_uint8_around_zero_is_read_as_int8(inputs: str, target: str) -> None:
    body = f"[quant] q = QuantizeLinear({inputs}) [deq] y = DequantizeLinear(q, s)"
    constants = {key: value for key, value in sixteenth(T.UINT8, 0).items() if key in inputs}
    found = tripoint.shapes(quantized(body, **constants), target=target).refusals
    (said,) = [each.reason for each in found if each.op == "QuantizeLinear"]
    assert said.endswith(
        "reads its uint8 as int8, so it cuts off what lies above 127 times the "
        "scale and lets through what is negative"
    )


@pytest.mark.parametrize(("target", "blocks"), [("8.6", True), ("10.1", False)])
@pytest.mark.parametrize(("kind", "zero"), [(T.INT4, 0), (T.UINT4, 8), (T.INT8, 0)])
def test_fix_is_no_way_out_of_blocks(
    kind: ir.DataType, zero: int, target: str, blocks: bool
) -> None:
    model = quantized(
        "[deq] w = DequantizeLinear<axis = 0, block_size = 2>(k, s, z) y = MatMul(x, w)",
        k=(weights(zero - 7, zero + 8, (8, 4)), kind),
        s=([[0.5] * 4] * 4, T.FLOAT),
        z=([[zero] * 4] * 4, kind),
    )
    fixed = tripoint.fix(model, target=target)
    assert [node.op_type for node in fixed.model.ir.graph] == ["DequantizeLinear", "MatMul"]
    nexts = [each.next for each in fixed.facts_after.table.refusals if each.op != "initializer"]
    assert len(nexts) == blocks
    assert all(each is not None and "one scale for a tensor or a channel" in each for each in nexts)
