"""Tables written as verbose logs, and read back."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers import graphs
from tests.helpers.marks import installed
from tests.helpers.paths import ARCHIVE
from tripoint import api
from tripoint.analysis.facts import Facts, of_recording
from tripoint.model import Model
from tripoint.report import verbose_log
from tripoint.shape_inference import truth
from tripoint.table import Refusal, Target, TensorTable, View
from tripoint.views import log
from tripoint.views.importers import SUPPORTED
from tripoint.views.log import Recording
from tripoint.views.log.names import escape, escape_operator, unescape
from tripoint.views.log.versions import LADDER

WRITTEN = ("7.0", "7.1", "7.2", "8.0", "8.2", "8.4", "8.5", "8.6", "10.0", "10.1")

SHAPED = graphs.build(
    "float[N,3,8,8] x, int64[2] n, float[4,3,3,3] w_conv",
    """[conv] a = Conv <pads = [1, 1, 1, 1]> (x, w_conv); b = Relu (a);
       k = Constant <value_ints = [0, -1]> (); c = Reshape (b, k); d = Shape (x);
       [clip] e = Clip (c, , ); q, r = Split <axis = 1> (e); y = Identity (d)""",
    outputs="float[N,M] q, float[N,M] r, int64[4] y, float[N,M] e",
)
LOOP = graphs.build(
    "float[2,3] x | int64 m = {5}, bool go = {1}",
    """[turn] y, z = Loop (m, go, x) <body = b (int64 i, bool c, float[2,3] s) =>
       (bool co, float[2,3] so, int64 t) { t = Neg (i) co = Identity (c) so = Relu (s) }>""",
    outputs="float[2,3] y, int64[K] z",
)
CALLS = Model(
    ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17, "l": 1]>
        g (float[2,3] x) => (float[3,2] y) { a = l.f (x) b = l.f (a) y = l.f (b) }
        <domain: "l", opset_import: ["": 17]>
        f (p) => (r) { [inner] t = Transpose <perm = [1, 0]> (p) r = Relu (t) }"""
    )
)
NESTED = graphs.build(
    "bool c, float[2,3] x",
    """[pick] y = If (c) <then_branch = t () => (float[2,3] tz) { [inner] tz = Relu (x) },
       else_branch = e () => (float[2,3] ez) { h = Neg (x) ez = Exp (h) }>;
       z = Tanh (y)""",
    outputs="float[2,3] z",
)


def read(lines: list[str]) -> Recording:
    (recording,) = log.read_stream(io.BytesIO("\n".join(lines).encode()), "written.log")
    return recording


def written(table: TensorTable, model: Model) -> list[str]:
    return list(verbose_log.lines(table, model))


def rows(table: TensorTable) -> list[object]:
    reached = [facts for facts in table.tensors if facts.tensorrt is not None]
    return [(facts.name, facts.op, facts.node, facts.tensorrt) for facts in reached]


def as_version(known: Facts, version: str) -> Facts:
    """The same view, said to be that of another version."""
    target = Target(version, "importer", version)
    return Facts(known.model, known.truth, replace(known.view, target=target))


def covers(found: str, version: str) -> bool:
    if found.endswith(" or later"):
        first, last = found.removesuffix(" or later"), "99"
    else:
        first, _, last = found.partition("-")
    number = tuple(map(int, version.split(".")))
    low = tuple(map(int, first.split(".")))
    high = tuple(map(int, (last or first).split(".")))
    return low <= number <= (*high, 99)


def assert_read_back(known: Facts) -> Recording:
    table = known.table
    recording = read(written(table, known.model))
    again = of_recording(recording).table
    assert rows(again) == rows(table)
    reached = {facts.name for facts in table.tensors if facts.tensorrt is not None}
    assert again.inputs == tuple(name for name in table.inputs if name in reached)
    assert set(again.outputs) >= {name for name in table.outputs if name in reached}
    assert {(each.node, each.op) for each in again.refusals} >= {
        (each.node, each.op) for each in table.refusals
    }
    return recording


@pytest.mark.parametrize("target", [*SUPPORTED, installed])
@pytest.mark.parametrize(
    "model", [SHAPED, NESTED, LOOP, CALLS], ids=["shaped", "nested", "loop", "calls"]
)
def test_every_target_is_read_back(target, model):
    known = api.facts(model, target=target)
    recording = assert_read_back(known)
    assert covers(recording.version, "10.1" if target == "installed" else target)


@pytest.mark.parametrize("target", [*SUPPORTED, installed])
def test_seed_is_read_back_with_its_origins(target):
    known = api.facts(graphs.GRAPH_A, target=target)
    recording = assert_read_back(known)
    again = of_recording(recording).table
    assert again.origins == known.table.origins
    assert [facts.lost for facts in again.tensors] == [f.lost for f in known.table.tensors]
    assert [facts.shape for facts in again.tensors] == [f.shape for f in known.table.tensors]


@pytest.mark.parametrize("version", WRITTEN)
def test_each_version_has_its_form(version):
    known = as_version(api.facts(SHAPED, target="7.1"), version)
    lines = written(known.table, SHAPED)
    assert covers(read(lines).version, version)
    assert_read_back(known)
    old, typed = version.startswith("7."), not version.startswith("7.")
    begun = [line for line in lines if "Parsing node: " in line]
    assert {line.startswith("[TensorRT] VERBOSE: ") for line in begun} == {old or version == "8.0"}
    assert any("ModelImporter.cpp:" in line for line in lines) == old
    assert any("Parsing node: node_of_b [Relu]" in line for line in lines) == typed
    assert any("[a -> (-1, 4, 8, 8)[FLOAT]], " in line for line in lines) == typed
    assert any("Static check for parsing node: " in line for line in lines) == (
        version in ("10.0", "10.1")
    )


def test_versions_are_told_apart_as_far_as_their_forms_differ():
    known = api.facts(SHAPED, target="7.1")
    found = {
        version: read(written(as_version(known, version).table, SHAPED)).version
        for version in WRITTEN
    }
    assert found == {
        **{version: version for version in ("7.0", "7.1", "7.2", "8.0")},
        **dict.fromkeys(("8.2", "8.4"), "8.2-8.4"),
        **dict.fromkeys(("8.5", "8.6"), "8.2-9.0"),
        **dict.fromkeys(("10.0", "10.1"), "9.1 or later"),
    }


def test_names_of_outputs_are_taken_first():
    known = api.facts(SHAPED, target="7.1")
    marked = {
        version: [line.rpartition("Marking ")[2] for line in lines if "Marking " in line]
        for version in ("7.1", "7.2")
        for lines in [written(as_version(known, version).table, SHAPED)]
    }
    names = ("q", "r", "y", "e")
    assert marked["7.1"] == [f"{name}_1 as output: {name}" for name in names]
    order = {"e": 0, "q": 1, "r": 2, "y": 3}
    assert marked["7.2"] == [f"{name}_{order[name]} as output: {name}" for name in names]


@pytest.mark.parametrize("version", WRITTEN)
def test_refusals_become_the_errors_of_the_version(version):
    model = graphs.build("float[2,3] x", "a = Relu (x); [bad] y = Neg (a)")
    known = Facts(
        model,
        truth.infer(model.ir),
        View(
            Target(version, "importer", version),
            {"x": (2, 3), "a": (2, 3)},
            refusals=(
                Refusal("bad", "Neg", f"TensorRT {version} has no\nimporter for Neg"),
                Refusal("a", "Relu", f"TensorRT {version} dislikes `x`"),
            ),
        ),
    )
    lines = written(known.table, model)
    assert not any("\n" in line for line in lines)
    form = (
        "In node 1 with name: bad and operator: Neg (importNeg): UNSUPPORTED_NODE: "
        if version.startswith("10")
        else 'While parsing node number 1 [Neg -> "y"]:'
    )
    assert sum(form in line for line in lines) == 1
    recording = assert_read_back(known)
    reasons = {each.node: each.reason for each in recording.view.refusals}
    assert reasons["bad"].endswith(": has no")
    assert reasons["a"].endswith(": dislikes `x`")


def test_what_was_not_reached_is_not_in_the_log():
    known = api.facts(SHAPED, target="7.1")
    shapes = {name: shape for name, shape in known.view.shapes.items() if name in ("x", "a", "b")}
    cut = Facts(SHAPED, known.truth, View(known.view.target, shapes))
    lines = written(cut.table, SHAPED)
    assert not any("Reshape" in line or "Marking" in line for line in lines)
    assert list(of_recording(read(lines)).view.shapes) == ["x", "a", "b"]


@pytest.mark.parametrize(
    "name",
    [
        *("a\nb", "a\r\n[V] Parsing node: x [Relu]", "a], [b -> (1)", "x -> (2, 3)", " a ", ""),
        *("␛", "␛a;", "a\\_b", "&lt;", "[TRT] [V] x", "x for ONNX tensor: y", "\ud800", "\x1b[31m"),
        *("a] inputs: b", "Marking a as output: b", "node_of_y", "日本", "a" * 10_000),
    ],
)
def test_escaped_name_is_one_printable_line_and_comes_back(name):
    for form in (escape(name), escape_operator(name)):
        assert form.isprintable()
        assert unescape(form) == name


ordinary = st.sampled_from(("/model.0/conv/Conv_output_0", "onnx::Relu_4", "a b", "x;0[1]", "7"))
punctuation = st.text(alphabet="a \n\r\t[](){},:;->=_\\/&<>0123␛\u2028\u202e", max_size=12)
odd_names = st.one_of(
    ordinary,
    punctuation,
    st.text(max_size=8),
    st.lists(
        st.sampled_from(
            ("], [", " -> (", "1)", "[V] ", "Parsing node: ", " as output: ", "] outputs: ", "x")
        ),
        max_size=5,
    ).map("".join),
)


@settings(max_examples=150, deadline=None)
@example(
    tensors=["x", "y", "z"], nodes=["\u2028 ", "  ", "n", "", " "], ops=["Relu"] * 5, version="7.0"
)
@given(
    tensors=st.lists(odd_names.filter(bool), min_size=3, max_size=6, unique=True),
    nodes=st.lists(odd_names, min_size=5, max_size=5),
    ops=st.lists(st.one_of(st.just("Relu"), odd_names), min_size=5, max_size=5),
    version=st.sampled_from(WRITTEN),
)
def test_odd_names_are_read_back(tensors, nodes, ops, version):
    start = ir.Value(name=tensors[0], shape=ir.Shape([2, 3]), type=ir.TensorType(ir.DataType.FLOAT))
    made, value = [], start
    for tensor, node, op in zip(tensors[1:], nodes, ops, strict=False):
        made.append(ir.Node("", op, [value, None], outputs=[ir.Value(name=tensor)], name=node))
        value = made[-1].outputs[0]
    model = Model(
        ir.Model(ir.Graph([start], [value], nodes=made, opset_imports={"": 17}), ir_version=8)
    )
    shapes = dict.fromkeys(tensors, (2, -1))
    view = View(Target(version, "importer", version), shapes)
    known = Facts(
        model,
        truth.Truth(dict.fromkeys(tensors, (2, 3)), {}, frozenset(), frozenset(), ()),
        view,
    )
    recording = read(written(known.table, model))
    again = of_recording(recording).table
    assert rows(again) == rows(known.table)
    assert (again.inputs, again.outputs) == (known.table.inputs, known.table.outputs)
    assert covers(recording.version, version)


def test_ladder_has_every_version_that_is_written():
    assert {version for version in WRITTEN if not version.startswith("10")} <= set(LADDER)


@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"no {ARCHIVE.name} beside the project")
@pytest.mark.parametrize("name", ["eca.ts", "mobilenetv3.ts_dyn", "vit_tiny.dynamo"])
def test_zoo_is_read_back(name, tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        member = next(m for m in archive.getmembers() if Path(m.name).name == f"{name}.onnx")
        archive.extract(member, tmp_path, filter="data")
    model = Model(ir.load(tmp_path / member.name))
    for target in (SUPPORTED[0], SUPPORTED[-1]):
        assert_read_back(api.facts(model, target=target))
