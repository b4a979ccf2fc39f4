"""Which node is blamed where a parser stops without naming one."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from tests.helpers.marks import RTX, needs_rtx
from tripoint.cli import app
from tripoint.engine import builder, inspect
from tripoint.errors import ExternalStepError
from tripoint.model import Model
from tripoint.views import installed

pytestmark = needs_rtx

INPUTS = "float[5,4] x, int64[3,4] i, float[3,4] u"
ADD = 'ScatterElements <axis = 0, reduction = "add">'
MAIN = f"g ({INPUTS}) => (float[5,4] y) {{ a = Relu(x) [sum] b = {ADD}(a, i, u) y = Relu(b) }}"
IF = f"""g ({INPUTS}, bool c) => (float[5,4] y) {{
  a = Relu(x)
  [cond] y = If(c) <
    then_branch = t () => (float[5,4] r) {{ k = Exp(a) r = {ADD}(k, i, u) }},
    else_branch = e () => (float[5,4] r) {{ r = Neg(a) }}
  >
}}"""
LOOP = f"""g ({INPUTS}) => (float[5,4] y) <int64 n = {{3}}, bool c = {{1}}> {{
  [loop] y = Loop(n, c, x) <
    body = b (int64 it, bool ci, float[5,4] s) => (bool co, float[5,4] r) {{
      co = Identity(ci) r = {ADD}(s, i, u) }}
  >
}}"""
FUNCTION = f"""g ({INPUTS}) => (float[5,4] y) {{ [call] a = my.f(x, i, u) y = Relu(a) }}
<domain: "my", opset_import: ["": 18]>
f (x, i, u) => (r) {{ t = Neg(x) [sum] r = {ADD}(t, i, u) }}"""
TWO = f"""g ({INPUTS}) => (float[5,4] y) {{
  a = {ADD}(x, i, u) k = Neg(a) y = {ADD}(k, i, u) }}"""
SAME_NAMES = f"""g ({INPUTS}) => (float[5,4] y) {{
  [same] a = Relu(x) [same] k = ScatterElements <axis = 0>(a, i, u) [same] y = {ADD}(k, i, u) }}"""


def model_of(text: str) -> Model:
    return Model(ir.from_onnx_text(f'<ir_version: 8, opset_import: ["": 18, "my": 1]>\n{text}'))


@pytest.mark.parametrize(
    ("text", "node", "where"),
    [
        (MAIN, "sum", ""),
        (MAIN.replace("[sum] ", ""), "b", ""),
        (MAIN.replace("[sum] ", """["a/b [c] 'd' \u00fc"] """), "a/b [c] 'd' \u00fc", ""),
        (IF, "r", " (inside If `cond`)"),
        (IF.replace("[cond] ", ""), "r", " (inside If `y`)"),
        (LOOP, "r", " (inside Loop `loop`)"),
        (FUNCTION, "sum", " (inside f `call`)"),
        (TWO, "a", ""),
        (SAME_NAMES, "same", ""),
    ],
)
def test_the_node_at_which_the_parser_stopped(
    text: str, node: str, where: str, tmp_path: Path
) -> None:
    model = model_of(text)
    (refusal,) = installed.view(model).refusals
    assert (refusal.node, refusal.op) == (node, "ScatterElements")
    assert refusal.reason == (
        f"{RTX} 1.6.1.120 does not support an attribute of this node{where}: "
        "Unsupported reduction type"
    )
    with pytest.raises(builder.NotParsedError) as built:
        builder.build(model, tmp_path / "a.plan", tensorrt=RTX)
    assert built.value.fact.startswith(f"node {node!r} (ScatterElements): {refusal.reason}")
    assert "one_hot(index).T @ source" in (built.value.hint or "")
    with pytest.raises(ExternalStepError) as inspected:
        inspect.inspect_network(model, tensorrt=RTX)
    assert inspected.value.fact == str(refusal)


def test_what_is_advised_is_built(tmp_path: Path) -> None:
    text = """g (float[5,4] x, int64[3] i, float[3,4] u) => (float[5,4] y)
    <int64[5] rows = {0, 1, 2, 3, 4}, int64[1] last = {1}> {
      column = Unsqueeze(i, last) same = Equal(column, rows) hot = Cast <to = 1>(same)
      turned = Transpose(hot) sums = MatMul(turned, u) y = Add(x, sums)
    }"""
    assert builder.build(model_of(text), tmp_path / "a.plan", tensorrt=RTX).bytes > 0


def test_the_source_line_is_told_by_all(tmp_path: Path) -> None:
    model = model_of(MAIN)
    model.ir.graph[1].metadata_props["pkg.torch.onnx.stack_trace"] = (
        '  File "gnn.py", line 6, in forward\n    return x.scatter_add(0, i, u)'
    )
    (refusal,) = installed.view(model).refusals
    assert refusal.source == "gnn.py:6"
    path = tmp_path / "gnn.onnx"
    ir.save(model.ir, path)
    for command in ("shapes", "build"):
        out = CliRunner().invoke(app, [command, str(path), "--tensorrt", RTX])
        assert "gnn.py:6" in out.output
        assert "node sum" in out.output or "node 'sum'" in out.output
    out = CliRunner().invoke(app, ["shapes", str(path), "--tensorrt", RTX, "--format", "json"])
    assert json.loads(out.stdout)["refusals"][0]["source"] == "gnn.py:6"


@pytest.mark.parametrize("command", ["inspect", "fix --dry-run", "shapes", "why"])
def test_every_command_that_looks_names_the_node(command: str, tmp_path: Path) -> None:
    path = tmp_path / "sum.onnx"
    ir.save(model_of(MAIN).ir, path)
    name, *options = command.split()
    tensor = ["b"] if name == "why" else []
    out = CliRunner().invoke(app, [name, str(path), *tensor, *options, "--tensorrt", RTX])
    assert "Unsupported reduction type" in out.stdout
    assert "sum" in out.stdout
