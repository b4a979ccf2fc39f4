"""A fault inside the branch of an If is found there; the body of a Loop is named as a whole."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import build
from tests.helpers.locating import Fused
from tripoint import model as models
from tripoint.cli import app
from tripoint.model import Model
from tripoint.numeric.inputs import generate
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.locate import Pair, Point, locate
from tripoint.parity.locate.onnxruntime import OnnxRuntime
from tripoint.parity.locate.repro import Options
from tripoint.parity.locate.results import Culprit, Location
from tripoint.spec import Spec

TWO = Spec.parse([], ["N=2"])

THEN = "p = Exp(a); q = Mul(p, a); r = Add(q, x)"
ELSE = "u = Abs(a); v = Sqrt(u)"


def branching(then: str = THEN, otherwise: str = ELSE, limit: float = -1.0) -> Model:
    """An If that takes its first branch where the sum of squares is above a limit."""
    return build(
        f"float[N,4] x | float limit = {{{limit}}}, float half = {{0.5}}",
        "sq = Mul(x, x); total = ReduceSum<keepdims=0>(sq); flag = Greater(total, limit); "
        "a = Relu(x); "
        f"b = If (flag) <then_branch = g1 () => (float[N,4] r) {{ {then} }}, "
        f"else_branch = g2 () => (float[N,4] v) {{ {otherwise} }}>; y = Neg(b)",
        18,
        "float[N,4] y",
    )


def nested(inner: str) -> Model:
    """An If in a branch of an If."""
    return branching(
        "c = Exp(a); "
        f"d = If (flag) <then_branch = g3 () => (float[N,4] e) {{ f = Mul(c, x); {inner} }}, "
        "else_branch = g4 () => (float[N,4] g) { g = Neg(c) }>; r = Add(d, x)"
    )


def looping(inner: str) -> Model:
    return build(
        "float[N,4] x | int64 rounds = {3}, bool go = {1}, float half = {0.5}",
        "a = Relu(x); b = Loop (rounds, go, a) <body = g1 (int64 i, bool c, float[N,4] s) => "
        f"(bool k, float[N,4] t) {{ k = Identity(c); h = Mul(s, half); {inner} }}>; y = Neg(b)",
        18,
        "float[N,4] y",
    )


def against(good: Model, bad: Model, **options: Any) -> Location:
    return tripoint.locate(good, against=bad, spec=TWO, **options)


def culprit(found: Location) -> Culprit:
    assert found.verdict == "different"
    assert found.culprit is not None
    return found.culprit


@pytest.mark.parametrize(
    ("old", "new", "node"),
    [
        ("Exp(a)", "Sqrt(a)", "p"),
        ("Mul(p, a)", "Mul(p, p)", "q"),
        ("Add(q, x)", "Sub(q, x)", "r"),
    ],
)
def test_the_node_in_the_first_branch_is_found(old: str, new: str, node: str) -> None:
    found = culprit(against(branching(), branching(THEN.replace(old, new))))
    assert (found.node, found.within, found.note) == (node, ("b (If)",), "")
    assert found.error_before == 0
    assert found.nodes == (node,)


def test_the_node_in_the_other_branch_is_found() -> None:
    good = branching(limit=1e9)
    found = culprit(against(good, branching(otherwise=ELSE.replace("Abs", "Exp"), limit=1e9)))
    assert (found.node, found.op, found.within) == ("u", "Abs", ("b (If)",))


def test_a_fault_in_the_branch_that_is_not_taken_is_no_difference() -> None:
    found = against(branching(), branching(otherwise=ELSE.replace("Abs", "Exp")))
    assert found.verdict == "equal"


def test_a_branch_in_a_branch_is_entered() -> None:
    found = culprit(against(nested("e = Tanh(f)"), nested("e = Sigmoid(f)")))
    assert (found.node, found.op, found.within) == ("e", "Tanh", ("b (If)", "d (If)"))


def test_a_wrong_condition_is_not_sought_in_the_branches() -> None:
    found = culprit(against(branching(limit=-1.0), branching(limit=1e9)))
    assert (found.node, found.within, found.note) == ("flag", (), "")


def test_a_branch_whose_output_has_another_name_is_named_as_a_whole() -> None:
    other = branching().ir
    node = next(node for node in other.graph if node.op_type == "If")
    branch = node.attributes["then_branch"].as_graph()
    branch.outputs[0].name = "renamed"
    wrong = next(each for each in branch if each.op_type == "Exp")
    wrong.op_type = "Sqrt"
    found = culprit(against(branching(), Model(other)))
    assert (found.node, found.within) == ("b", ())
    assert found.note == "If with 5 nodes in its bodies; the search does not go inside"


def test_an_error_that_adds_up_in_a_branch_belongs_to_the_if() -> None:
    def steps(factor: float) -> Model:
        chain = "; ".join(f"t{i + 1} = Mul(t{i}, k)" for i in range(40))
        body = f"k = Constant<value_float={factor!r}>(); t0 = Mul(a, k); {chain}; r = Neg(t40)"
        return branching(body)

    found = culprit(against(steps(1.0), steps(1.0000005)))
    assert (found.node, found.within) == ("b", ())
    assert found.note == "If with 45 nodes in its bodies; no node inside produces the error alone"


def test_a_loop_is_named_as_a_whole() -> None:
    found = culprit(against(looping("t = Add(h, x)"), looping("t = Sub(h, x)")))
    assert (found.node, found.op, found.within) == ("b", "Loop", ())
    assert found.note == "Loop with 3 nodes in its bodies; the search does not go inside"


def test_an_engine_is_searched_inside_as_well() -> None:
    good, bad = Graph(branching()), Graph(branching(THEN.replace("Exp", "Sqrt")))

    class Engine(Fused):
        """On a graph that was cut out of the good one it has the same fault."""

        def on(self, graph: Graph) -> Fused:
            wrong = graph.model.ir.clone()
            next(node for node in wrong.graph if node.op_type == "Exp").op_type = "Sqrt"
            return Fused(graph, Graph(Model(wrong)), ["p"], only_with=["p"])

    suspect = Engine(good, bad, ["a"], only_with=["b"])
    feed = generate(good.specs, {"N": 2}, 0)
    reference = OnnxRuntime(good, name="ONNX Runtime", limit=8)
    pair = Pair(reference, suspect, good, Options("engine"))
    found = culprit(locate([pair], good.specs, [Point(feed, 0)]))
    assert (found.node, found.within, found.fused_layer) == ("p", ("b (If)",), "fused")


def test_the_command_tells_where_and_the_repro_holds_only_the_node(tmp_path: Path) -> None:
    models.save(branching(), tmp_path / "good.onnx")
    models.save(branching(THEN.replace("Exp", "Sqrt")), tmp_path / "bad.onnx")
    call = ["locate", "good.onnx", "--against", "bad.onnx", "--dim", "N=2", "-q"]
    runner = CliRunner()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        result = runner.invoke(app, [*call, "-o", "repro"])
        assert result.exit_code == 1, result.output
        assert "culprit: p (Exp)" in result.stdout
        assert ["inside", "b", "(If)"] in [line.split() for line in result.stdout.splitlines()]
        document = json.loads(runner.invoke(app, [*call, "--format", "json"]).stdout)
        assert document["culprit"]["within"] == ["b (If)"]
        assert document["culprit"]["note"] == ""
        part = models.load(Path("repro/model.onnx"))
        assert [node.op_type for node in part.ir.graph] == ["Sqrt"]
        text = Path("repro/README.md").read_text(encoding="utf-8")
        assert "inside b (If)" in text
        command = next(line for line in text.splitlines() if line.startswith("tripoint "))
        patch.chdir(tmp_path / "repro")
        again = runner.invoke(app, [*shlex.split(command)[1:], "-q"])
        assert again.exit_code == 1, again.output
        assert "culprit: p (Exp)" in again.stdout


def test_the_text_says_what_was_not_searched(tmp_path: Path) -> None:
    models.save(looping("t = Add(h, x)"), tmp_path / "good.onnx")
    models.save(looping("t = Sub(h, x)"), tmp_path / "bad.onnx")
    paths = [str(tmp_path / "good.onnx"), "--against", str(tmp_path / "bad.onnx")]
    result = CliRunner().invoke(app, ["locate", *paths, "--dim", "N=2", "-q"])
    assert "Loop with 3 nodes in its bodies; the search does not go inside" in result.stdout
