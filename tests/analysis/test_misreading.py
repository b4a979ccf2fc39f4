"""Engines of another shape than the model: said by every command, and repaired where exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.graphs import Feed, build, execute, feed, fixed, operators
from tests.helpers.marks import needs_rtx
from tripoint.cli import app
from tripoint.model import Model
from tripoint.numeric.ort import Session
from tripoint.spec import Spec

SAME = (
    "y = ConvTranspose<kernel_shape=[3,3], strides=[2,2], output_shape=[15,16], "
    'auto_pad="SAME_UPPER">(x, w_w)'
)
LAYOUT = "y = LSTM<hidden_size=3, layout=1>(x, w_w, w_r)"
CONV = "float[1,1,8,8] x, float[1,1,3,3] w_w"
LSTM = "float[N,T,4] x, float[1,12,4] w_w, float[1,12,3] w_r"


def saved(tmp_path: Path, inputs: str, body: str, opset: int = 17) -> str:
    path = tmp_path / "m.onnx"
    ir.save(build(inputs, body, opset).ir, path)
    return str(path)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output


# What the commands say


@needs_rtx
@pytest.mark.parametrize(
    ("inputs", "body", "seen"),
    [
        (CONV, SAME, (1, 1, 16, 16)),
        (CONV, SAME.replace("UPPER", "LOWER"), (1, 1, 16, 16)),
        (CONV, SAME.replace("SAME_UPPER", "VALID"), (1, 1, 17, 17)),
        (LSTM, LAYOUT, (-1, 1, -1, 3)),
        (LSTM.replace("12", "9"), LAYOUT.replace("LSTM", "GRU"), (-1, 1, -1, 3)),
        (LSTM.replace("12", "3"), LAYOUT.replace("LSTM", "RNN"), (-1, 1, -1, 3)),
        (
            "float[1,2,8,8] x",
            "y = MaxPool<kernel_shape=[1,1], strides=[2,2], ceil_mode=1>(x)",
            None,
        ),
    ],
)
def test_the_table_of_the_real_parser_names_the_node(
    inputs: str, body: str, seen: tuple[int, ...] | None
) -> None:
    table = tripoint.shapes(build(inputs, body, 17), target="installed")
    facts = table.by_name["y"]
    assert facts.tensorrt == (seen or (1, 2, 5, 5))
    assert facts.differs
    assert facts.lost == ()
    assert table.summary.lost_dims == 0
    (refusal,) = table.refusals
    assert refusal.node == "y"
    assert ("ignores `" in refusal.reason) == (seen is not None)
    assert "gives `y` the shape" in refusal.reason


@needs_rtx
def test_why_goes_back_to_the_node_that_is_misread() -> None:
    model = build(LSTM, f"{LAYOUT.replace('y =', 'r =')}; t = Relu(r); y = Neg(t)", 17)
    chain = tripoint.why(model, "y", target="installed")
    assert (chain.origin, chain.misread, chain.reaches) == (None, "r", ("y",))
    assert [step.tensor for step in chain.back] == ["y", "t", "r"]
    assert "ignores `layout` of LSTM" in chain.back[-1].reason
    assert tripoint.why(model, "x", target="installed").misread is None


@needs_rtx
def test_an_attribute_that_changes_no_shape_is_named_as_well() -> None:
    model = build("float[1,2,4,4] x", 'y = SpaceToDepth<blocksize=2, mode="CRD">(x)', 28)
    table = tripoint.shapes(model, target="installed")
    assert not table.by_name["y"].differs
    (refusal,) = table.refusals
    assert "ignores `mode` of SpaceToDepth" in refusal.reason
    plain = build("float[1,2,4,4] x", 'y = SpaceToDepth<blocksize=2, mode="DCR">(x)', 28)
    assert tripoint.shapes(plain, target="installed").refusals == ()


@needs_rtx
def test_build_inspect_and_why_as_text(tmp_path: Path) -> None:
    path = saved(tmp_path, CONV, SAME)
    code, text = run("build", path, "-o", str(tmp_path / "m.plan"), "-q")
    assert code == 0
    assert "warning: output y: the model (1, 1, 15, 16), the engine (1, 1, 16, 16)" in text
    assert "ignores `output_shape` of ConvTranspose with auto_pad=SAME_UPPER" in text
    hint = (
        "warning: `tripoint fix MODEL -o FIXED.onnx` says that otherwise, by explicit-pads; build"
    )
    assert hint in text
    followed = str(tmp_path / "FIXED.onnx")
    assert run("fix", path, "-o", followed)[0] == 0
    code, right = run("build", followed, "-o", str(tmp_path / "right.plan"), "-q")
    assert "ignores" not in right
    assert "the model (" not in right
    code, text = run("inspect", path)
    assert "Shape: (1, 1, 16, 16)  (the model: (1, 1, 15, 16))" in text
    code, text = run("why", path, "y")
    assert "no dimension is lost" not in text
    assert "TensorRT gives it another shape, and that starts at y" in text
    code, text = run("why", path, "y", "--format", "json")
    assert json.loads(text)["misread"] == "y"
    code, text = run("verify", path, "--engine", str(tmp_path / "m.plan"))
    assert code == 1
    assert "verdict: different" in text
    assert "output y: the model (1, 1, 15, 16), the engine (1, 1, 16, 16)" in text


@needs_rtx
def test_run_repairs_it_and_builds_the_right_engine(tmp_path: Path) -> None:
    path = saved(tmp_path, CONV, SAME)
    code, text = run("run", path, "-o", str(tmp_path / "out"), "-q")
    assert code == 0
    assert "explicit-pads: y" in text
    content = json.loads((tmp_path / "out" / "model.manifest.json").read_text())
    assert [each["shape"] for each in content["outputs"]] == [[1, 1, 15, 16]]


@needs_rtx
def test_run_says_different_where_nothing_repairs_it(tmp_path: Path) -> None:
    path = saved(tmp_path, CONV, SAME)
    found = tripoint.run(path, tmp_path / "out", select=["no-operation"]).verification
    assert found.verdict == "different"
    assert found.reasons[0] == "output y: the model (1, 1, 15, 16), the engine (1, 1, 16, 16)"


@needs_rtx
def test_an_engine_of_the_right_shape_gets_no_warning(tmp_path: Path) -> None:
    path = saved(tmp_path, CONV, SAME.replace(', auto_pad="SAME_UPPER"', ""))
    code, text = run("build", path, "-o", str(tmp_path / "m.plan"), "-q")
    assert code == 0
    assert "the model (" not in text
    assert "ignores" not in text


# explicit-pads


PADS = "explicit-pads"


def transpose(attributes: str, x: str = "1,2,8,8", kernel: str = "3,3", bias: bool = True) -> Model:
    count = len(kernel.split(","))
    strides = ",".join("2" * count)
    node = f"ConvTranspose<kernel_shape=[{kernel}], strides=[{strides}], {attributes}>"
    inputs = f"float[{x}] x, float[2,2,{kernel}] w_w, float[2] w_b"
    return build(inputs, f"y = {node}(x, w_w{', w_b' if bias else ''})", 13)


@pytest.mark.parametrize(
    ("attributes", "pads", "padding"),
    [
        ('output_shape=[15,16], auto_pad="SAME_UPPER"', [1, 0, 1, 1], None),
        ('output_shape=[15,16], auto_pad="SAME_LOWER"', [1, 1, 1, 0], None),
        ('output_shape=[15,16], auto_pad="VALID"', [1, 1, 1, 0], None),
        ("output_shape=[13,16]", [2, 1, 2, 0], None),
        ("output_shape=[18,17]", [0, 0, 0, 0], [1, 0]),
        ('output_padding=[1,1], auto_pad="VALID"', [0, 0, 0, 0], [1, 1]),
        ('output_padding=[1,1], auto_pad="SAME_UPPER"', [1, 1, 0, 0], None),
        ('auto_pad="SAME_UPPER"', [0, 0, 1, 1], None),
        ('auto_pad="SAME_LOWER"', [1, 1, 0, 0], None),
        ('dilations=[2,2], output_shape=[19,20], auto_pad="NOTSET"', [0, 0, 0, 0], [0, 1]),
    ],
)
def test_pads_and_padding(attributes: str, pads: list[int], padding: list[int] | None) -> None:
    (node,) = fixed(transpose(attributes), select=[PADS]).model.ir.graph
    assert list(node.attributes["pads"].as_ints()) == pads
    found = node.attributes.get_ints("output_padding")
    assert (list(found) if found is not None else None) == padding
    assert not {"auto_pad", "output_shape"} & set(node.attributes)


@pytest.mark.parametrize(
    ("x", "kernel", "shape"), [("1,2,8", "3", "15"), ("1,2,4,4,4", "3,3,3", "7,8,8")]
)
def test_in_one_and_three_dims(x: str, kernel: str, shape: str) -> None:
    model = transpose(f'output_shape=[{shape}], auto_pad="SAME_UPPER"', x, kernel)
    assert len(fixed(model, select=[PADS]).applied) == 1


@pytest.mark.parametrize(
    ("attributes", "pads"),
    [
        ('auto_pad="SAME_UPPER"', [0, 0, 1, 1]),
        ('output_padding=[1,0], auto_pad="VALID"', [0, 0, 0, 0]),
    ],
)
def test_of_open_sizes_the_pads_are_the_same_for_all(attributes: str, pads: list[int]) -> None:
    model = transpose(attributes, "N,2,H,W")
    sizes = [{"N": 1, "H": h, "W": h + 3} for h in (2, 5, 8)]
    (node,) = fixed(model, sizes, [PADS]).model.ir.graph
    assert list(node.attributes["pads"].as_ints()) == pads


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (transpose("output_shape=[15,16]", "N,2,H,8"), "the pads follow H"),
        (transpose("output_shape=[20,18]"), "3 is no legal output_padding for a stride of 2"),
        (
            transpose('dilations=[1,1], auto_pad="SAME_UPPER"', "1,2,H,W", "1,1"),
            "leave gaps in strides of 2",
        ),
    ],
)
def test_what_is_not_made_explicit(model: Model, reason: str) -> None:
    result = tripoint.fix(model, target="7.1", select=[PADS], numeric=False)
    assert result.applied == ()
    assert reason in result.refused[0].reason


def test_no_reshape_goes_behind_what_is_misread() -> None:
    model = transpose('output_shape=[15,16], auto_pad="SAME_UPPER"', "N,2,H,8")
    result = tripoint.fix(model, target="10.1", numeric=False)
    assert result.applied == ()
    assert {each.rewrite for each in result.refused} == {PADS, "materialise"}


@pytest.mark.parametrize(
    "attributes", ["pads=[1,1,1,1]", 'auto_pad="VALID"', "output_padding=[1,1]"]
)
def test_pads_that_every_version_reads_stay(attributes: str) -> None:
    result = tripoint.fix(transpose(attributes), target="7.1", select=[PADS], numeric=False)
    assert (result.applied, result.refused) == ((), ())


# needless-ceil


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize(
    ("attributes", "applies"),
    [
        ("kernel_shape=[1,1], strides=[2,2], ceil_mode=1", True),
        ("kernel_shape=[2,2], strides=[3,3], pads=[0,0,1,1], ceil_mode=1", True),
        ("kernel_shape=[3,3], strides=[2,2], ceil_mode=1", False),
        ("kernel_shape=[2,2], strides=[2,2], ceil_mode=1", False),
        ("kernel_shape=[1,1], strides=[2,2], ceil_mode=0", False),
    ],
)
def test_a_window_that_would_begin_in_the_padding(op: str, attributes: str, applies: bool) -> None:
    model = build("float[1,2,8,8] x", f"y = {op}<{attributes}>(x)", 22)
    result = fixed(model, select=["needless-ceil"])
    assert len(result.applied) == applies
    (node,) = result.model.ir.graph
    assert applies or "ceil_mode" in node.attributes


def test_an_open_size_keeps_its_ceil() -> None:
    body = "y = MaxPool<kernel_shape=[1,1], strides=[2,2], ceil_mode=1>(x)"
    model = build("float[1,2,H,8] x", body, 13)
    assert fixed(model, [{"H": 8}, {"H": 5}, {"H": 2}], ["needless-ceil"]).applied == ()


# default-attributes


@pytest.mark.parametrize("target", ["8.6", "10.0", "10.1"])
@pytest.mark.parametrize(("reduction", "kept"), [("none", False), ("add", True), ("max", True)])
def test_a_reduction_that_says_nothing_goes(target: str, reduction: str, kept: bool) -> None:
    inputs = "float[N,3] x, int64[2,1] j, float[2,3] u"
    model = build(inputs, f'y = ScatterND<reduction="{reduction}">(x, j, u)', 18)
    result = tripoint.fix(model, target=target, spec=Spec.parse((), ["N=5..6..8"]))
    (node,) = result.model.ir.graph
    assert ("reduction" in node.attributes) == kept
    assert len(result.applied) == (not kept)
    assert result.proven
    if target != "8.6":
        assert (result.facts_after.table.refusals == ()) == (not kept)


def test_other_defaults_stay() -> None:
    model = build("float[2,3] x, float[3,4] w_w", "y = Gemm<alpha=1.0, transA=0>(x, w_w)", 13)
    assert tripoint.fix(model, target="10.1", select=["default-attributes"]).applied == ()


# time-first


def recurrent(op: str, direction: str, *, states: bool, lengths: bool) -> Model:
    ways = 2 if direction == "bidirectional" else 1
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    inputs = (
        f"float[N,T,4] x, float[{ways},{3 * gates},4] w_w, float[{ways},{3 * gates},3] w_r, "
        f"float[{ways},{6 * gates}] w_b"
    )
    operands = ["x", "w_w", "w_r", "w_b", "n" if lengths else "", ""]
    inputs += ", int32[N] n" if lengths else ""
    if states:
        inputs += f", float[N,{ways},3] h0"
        operands[5] = "h0"
        if op == "LSTM":
            inputs += f", float[N,{ways},3] c0"
            operands.append("c0")
    results = ["y", "h", *(["c"] if op == "LSTM" else [])]
    node = f'{op}<hidden_size=3, layout=1, direction="{direction}">({", ".join(operands)})'
    return build(inputs, f"{', '.join(results)} = {node}", 17, ", ".join(results))


def one_by_one(model: Model, inputs: Feed) -> list[np.ndarray[Any, Any]]:
    """What ONNX Runtime computes for each row of the batch alone, which needs no Transpose."""
    clone = model.ir.clone()
    (node,) = clone.graph
    del node.attributes["layout"]
    for value in (*clone.graph.inputs, *clone.graph.outputs):
        value.shape = None
    rows = []
    for row in range(len(inputs["x"])):
        alone = {}
        for name, array in inputs.items():
            part = array[row]
            alone[name] = part[:, None] if name in ("x", "h0", "c0") else part[None]
        found = execute(Model(clone), alone)
        rows.append([found[0][:, :, 0], *(state[:, 0] for state in found[1:])])
    return [np.stack(parts) for parts in zip(*rows, strict=True)]


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("states", "lengths"), [(False, False), (True, False), (True, True)])
def test_batch_first_is_each_row_alone(
    op: str, direction: str, states: bool, lengths: bool
) -> None:
    if op == "RNN" and lengths and onnxruntime.__version__.startswith("1.23."):
        pytest.skip("the proof does not hold in ONNX Runtime 1.23, the newest for Python 3.10")
    model = recurrent(op, direction, states=states, lengths=lengths)
    spec = Spec.parse((), ["N=1..2..3", "T=5..6..7"])
    result = tripoint.fix(model, target="8.6", spec=spec, select=["time-first"])
    assert [each.rewrite for each in result.applied] == ["time-first"]
    assert result.proven
    assert not any("layout" in node.attributes for node in result.model.ir.graph)
    assert result.facts_after.table.refusals == ()
    for seed, size in enumerate((1, 3)):
        inputs = dict(feed(model, seed, N=size, T=6))
        if lengths:
            inputs["n"] = np.arange(4, 4 + size, dtype=np.int32)
        expected = one_by_one(model, inputs)
        assert Session(model).outputs == [value.name for value in model.ir.graph.outputs]
        for found in (execute(result.model, inputs), Session(model).run(inputs)):
            for a, b in zip(expected, found, strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


@needs_rtx
def test_time_first_is_understood() -> None:
    model = recurrent("LSTM", "bidirectional", states=True, lengths=False)
    result = tripoint.fix(
        model, target="installed", spec=Spec.parse((), ["N=1..2..3", "T=5..6..7"])
    )
    table = result.facts_after.table
    assert [table.by_name[name].tensorrt for name in table.outputs] == [
        *((-1, -1, 2, 3), (-1, 2, 3), (-1, 2, 3)),
    ]
    assert not any(facts.differs for facts in table.tensors)
    assert table.refusals == ()


def test_only_the_outputs_that_are_there() -> None:
    model = build(
        "float[2,7,4] x, float[1,12,4] w_w, float[1,12,3] w_r",
        *(", h = LSTM<hidden_size=3, layout=1>(x, w_w, w_r)", 17, "h"),
    )
    result = tripoint.fix(model, target="8.6", select=["time-first"])
    assert operators(result.model) == ["Transpose", "LSTM", "Transpose"]
    assert result.proven


def test_time_first_stays() -> None:
    model = build(LSTM, LAYOUT.replace("layout=1", "layout=0"), 17)
    assert tripoint.fix(model, target="8.6", select=["time-first"]).applied == ()


# einsum-letters


TWO = "float[N,3,4] x, float[N,4,5] z"
FOUR = "float[N,2,S,4] x, float[N,2,3,4] z"


@pytest.mark.parametrize(
    ("target", "inputs", "equation", "expected"),
    [
        ("10.1", TWO, "Bij,Bjk->Bik", "aij,ajk->aik"),
        ("8.6", TWO, "aij, ajK -> aKi", "aij,ajb->abi"),
        ("8.6", FOUR, "...qd,...kd->...qk", "abqd,abkd->abqk"),
        ("8.6", FOUR, "...qd,...kd", "abqd,abkd->abkq"),
        ("10.0", FOUR, "...qd,...kd->...qk", None),
        ("8.6", TWO, "bij,bjk->bik", None),
        ("8.6", "float[N,3] x, float[3,5] z", "bj,ja", None),
    ],
)
def test_letters(target: str, inputs: str, equation: str, expected: str | None) -> None:
    model = build(inputs, f'y = Einsum<equation="{equation}">(x, z)')
    spec = Spec.parse((), ["N=1..2..3", *(["S=1..5..6"] if "S" in inputs else [])])
    result = tripoint.fix(model, target=target, spec=spec, select=["einsum-letters"])
    (node,) = result.model.ir.graph
    assert node.attributes["equation"].as_string() == (expected or equation)
    assert len(result.applied) == (expected is not None)
    assert result.proven
    assert not any("Einsum" in each.reason for each in result.facts_after.table.refusals)


def test_upper_case_without_a_result_stays() -> None:
    model = build("float[N,3] x, float[3,5] z", 'y = Einsum<equation="Bj,jA">(x, z)')
    result = tripoint.fix(model, target="8.6", select=["einsum-letters"])
    assert result.applied == ()
    assert "no upper case without a result" in result.refused[0].reason


def test_an_ellipsis_that_is_broadcast_stays() -> None:
    body = 'y = Einsum<equation="...ij,...jk->...ik">(x, z)'
    model = build("float[N,2,3] x, float[1,3,4] z", body)
    result = tripoint.fix(model, target="8.6", select=["einsum-letters"])
    assert result.applied == ()
    assert "are broadcast" in result.refused[0].reason
