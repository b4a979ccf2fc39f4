"""A build that fails names the ONNX node, and only hints at what was built on trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.marks import RTX, needs_rtx
from tripoint.cli import app
from tripoint.engine import why_not_built
from tripoint.errors import ExternalStepError
from tripoint.model import Model
from tripoint.profiles.profile import Profile
from tripoint.spec import Spec
from tripoint.trt import process
from tripoint.views import installed

RANKS = """g (float[R,K] x) => (float[c] y)
<int64 i1 = {1}, int64 one = {1}, int64[1] ax = {1}> {
  sizes = Shape(x) columns = Gather(sizes, i1) alone = Equal(columns, one)
  [branch] z = If(alone) <
    then_branch = t () => (float[q] a) { a = Squeeze(x, ax) },
    else_branch = e () => (float[q1,q2] b) { b = Identity(x) }
  > y = Relu(z)
}"""
FLAG = """g (float[R,4] x, bool flag) => (float[c] y) {
  [branch] z = If(flag) <
    then_branch = t () => (float[q] a) { a = ReduceSum <keepdims = 0>(x) },
    else_branch = e () => (float[q1,q2] b) { b = Neg(x) }
  > y = Relu(z)
}"""
RATE = FLAG.replace("bool flag) =>", "int64 rate) =>").replace("y) {", "y) <int64 k = {16000}> {")
RATE = RATE.replace("[branch]", "flag = Equal(rate, k) [branch]")
INNER = RANKS[RANKS.index("sizes =") : -1].replace("y =", "y1 =")
NESTED = f"""g (float[R,K] x, bool outer) => (float[c] y)
<int64 i1 = {{1}}, int64 one = {{1}}, int64[1] ax = {{1}}> {{
  [around] y = If(outer) <
    then_branch = o () => (float[p] y1) {{ {INNER} }},
    else_branch = p () => (float[p1,p2] y2) {{ y2 = Exp(x) }}
  >
}}"""
MERGED = """g (float[B,2,S,4] q, float[B,2,P,4] past, bool[1] use) => (float[a,b,c,d] present) {
  r = Relu(q)
  [cache] present = If(use) <
    then_branch = t () => (float[b0,h0,p0,d0] p1) { p1 = Concat <axis = 2>(past, r) },
    else_branch = e () => (float[b9,h9,p9,d9] p2) { p2 = Identity(r) }
  >
}"""
GROWS = """g (float[N,4] x) => (float[K,4] y) <int64 n = {3}, bool c = {1}> {
  a = Relu(x)
  [loop] y = Loop(n, c, a) <
    body = b (int64 it, bool ci, float[A,4] s) => (bool co, float[B,4] t) {
      co = Identity(ci) t = Concat <axis = 0>(s, a) }
  >
}"""
BOXES = "float[1,16,4] boxes, float[1,3,16] scores"
LIMITS = "int64[1] k = {10}, float[1] iou = {0.5}, float[1] least = {0.2}"
NMS = f"""g ({BOXES}) => (int64[a,b] y) <{LIMITS}> {{
  r = Relu(boxes) y = NonMaxSuppression(r, scores, k, iou, least) }}"""
NMS_IN_IF = f"""g ({BOXES}, bool c) => (int64[a,b] y) <{LIMITS}> {{
  y = If(c) <
    then_branch = t () => (int64[q,3] s) {{ s = NonMaxSuppression(boxes, scores, k, iou, least) }},
    else_branch = e () => (int64[r,3] z) {{ z = Constant <value = int64[1,3] {{0, 0, 0}}>() }}
  >
}}"""


def model_of(text: str) -> Model:
    return Model(ir.from_onnx_text(f'<ir_version: 8, opset_import: ["": 16]>\n{text}'))


@needs_rtx
@pytest.mark.parametrize(
    ("text", "spec", "node", "said", "hint"),
    [
        (
            RANKS,
            Spec.parse([], ["R=1..4..8", "K=1..2..4"]),
            "node 'branch' (If)",
            ["different ranks", "branches give (R,) and (R, K)", "with K = 1 an engine is built"],
            "--dim K=1",
        ),
        (
            NESTED,
            Spec.parse([], ["R=1..4..8", "K=1..2..4"]),
            "node 'branch' (If)",
            ["branches give (R,) and (R, K)"],
            "",
        ),
        (
            FLAG,
            Spec.parse([], ["R=1..4..8"]),
            "node 'branch' (If)",
            ["branches give () and (R, 4)", "with `flag` always true or always false"],
            "for each value of flag",
        ),
        (
            RATE.replace("[branch] ", ""),
            Spec.parse(["rate:[16000]"], ["R=1..4..8"]),
            "node 'z' (If)",
            ["with `rate` always 16000 an engine is built"],
            "for each value of rate",
        ),
        (
            MERGED,
            Spec.parse([], ["B=1..2..4", "S=1..2..4", "P=1..2..4"]),
            "node 'cache' (If)",
            ["(B, 2, P + S, 4) and (B, 2, S, 4)", "with `use` always true or always false"],
            "for each value of use",
        ),
        (
            GROWS,
            Spec.parse([], ["N=1..2..4"]),
            "node 'loop' (Loop)",
            ["`s` goes into its first round as (N, 4)"],
            "largest shape",
        ),
        (
            NMS,
            Spec(),
            "node 'y' (NonMaxSuppression)",
            ["no kernel for NonMaxSuppression", "all in front of it is built (tried)"],
            "end at `r`, `scores`",
        ),
        (
            NMS_IN_IF,
            Spec(),
            "node 's' (NonMaxSuppression)",
            ["in the main graph only"],
            "end at `boxes`, `scores`",
        ),
    ],
)
def test_the_node_and_what_helps(
    text: str, spec: Spec, node: str, said: list[str], hint: str, tmp_path: Path
) -> None:
    with pytest.raises(ExternalStepError) as caught:
        tripoint.build(model_of(text), tmp_path / "a.plan", spec=spec, tensorrt=RTX)
    assert caught.value.fact.startswith(f"{node}: {RTX} 1.6.1.120 could not build an engine")
    for part in said:
        assert part in caught.value.fact
    assert hint in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_the_size_that_is_hinted_at_is_built(tmp_path: Path) -> None:
    spec = Spec.parse([], ["R=1..4..8", "K=1"])
    assert tripoint.build(model_of(RANKS), tmp_path / "a.plan", spec=spec, tensorrt=RTX).bytes


@needs_rtx
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RANKS, ["'branch' (If) is parsed with branches of different ranks, (-1,) and (-1, -1)"]),
        (FLAG, ["'branch' (If) is parsed with branches of different ranks, () and (-1, 4)"]),
        (NMS, ["'y' (NonMaxSuppression) is parsed, and no engine"]),
        (NMS_IN_IF, ["'s' (NonMaxSuppression) is parsed, and no engine"]),
        (MERGED, []),
        (GROWS, []),
    ],
)
def test_shapes_tells_of_what_is_known_to_fail_later(text: str, said: list[str]) -> None:
    notes = installed.view(model_of(text)).notes
    assert [part in note for note, part in zip(notes, said, strict=True)] == [True] * len(said)


CHAIN = "g (float[N,4] x) => (float[N,4] y) { %s }"


@pytest.mark.parametrize("at", [0, 7, 23, 39])
def test_a_node_that_no_message_names_is_found_by_halves(at: int) -> None:
    nodes = ["x", *(f"t{index}" for index in range(39)), "y"]
    body = " ".join(
        f"[n{index}] {nodes[index + 1]} = {'Erf' if index == at else 'Relu'}({nodes[index]})"
        for index in range(40)
    )
    built: list[str] = []

    def call(
        source: Path, _plan: Path, _profiles: Sequence[Profile], seconds: float
    ) -> Mapping[str, Any]:
        assert seconds > 0
        operators = [node.op_type for node in ir.load(source).graph]
        built.append(operators[-1])
        if "Erf" in operators:
            raise process.WorkerError("no", "failed")
        return {"complete": True}

    error = process.WorkerError("an inner check failed", "failed", hint="another version")
    failed = why_not_built.Failed(model_of(CHAIN % body), (), error, (), (), call, lambda _: None)
    explained = why_not_built.explain(failed)
    assert explained.fact == f"node 'n{at}' (Erf): an inner check failed"
    assert explained.hint == "another version"
    assert len(built) <= 7


def test_nothing_is_claimed_where_nothing_could_be_tried() -> None:
    def call(*_: Any) -> Mapping[str, Any]:
        raise process.WorkerError("late", "timeout")

    error = process.WorkerError("an inner check failed", "failed")
    model = model_of(CHAIN % "[a] t = Relu(x) [b] y = Neg(t)")
    failed = why_not_built.Failed(model, (), error, (), (), call, lambda _: None)
    assert why_not_built.explain(failed) is error


def test_an_end_by_time_or_memory_is_no_fault_of_a_node() -> None:
    for kind in ("timeout", "memory"):
        error = process.WorkerError("ended", kind)
        model = model_of(CHAIN % "y = Relu(x)")
        failed = why_not_built.Failed(model, (), error, (), (), lambda *_: {}, lambda _: None)
        assert why_not_built.explain(failed) is error


@needs_rtx
@pytest.mark.parametrize("command", ["inspect", "fix --dry-run", "shapes", "why"])
def test_what_fails_later_is_told_by_every_command_that_looks(command: str, tmp_path: Path) -> None:
    path = tmp_path / "boxes.onnx"
    ir.save(model_of(NMS).ir, path)
    name, *options = command.split()
    tensor = ["y"] if name == "why" else []
    out = CliRunner().invoke(app, [name, str(path), *tensor, *options, "--tensorrt", RTX])
    assert "note: node 'y' (NonMaxSuppression) is parsed, and no engine is built" in out.stdout
