"""Each rewrite where it fits, and each condition under which it must not be made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tripoint
from tests.helpers.graphs import (
    assert_same_function,
    build,
    execute,
    feed,
    fixed,
    operators,
    to_bytes,
)
from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.rewrites import all_rewrites, transaction

CONV, EXPAND, POOL = "conv1d-between-squeezes", "redundant-expand", "global-average-pool"
THESE = (POOL, CONV, EXPAND)
"""The rewrites of this file; those of others would change the same graphs."""

STACK_TRACE = "pkg.torch.onnx.stack_trace"

Sizes = Sequence[Mapping[str, int]]
Accepted = tuple[str, str, list[str]]

PLAIN = "t = Squeeze<axes = [-1]>(x); c = Conv(t, w_k); y = Unsqueeze<axes = [-1]>(c)"
ECA = (
    "t = Squeeze<axes = [-1]>(x); p = Transpose<perm = [0,2,1]>(t);"
    "c = Conv<pads = [1,1]>(p, w_k); q = Transpose<perm = [0,2,1]>(c);"
    "y = Unsqueeze<axes = [-1]>(q)"
)
TURNED = ["Transpose", "Conv", "Transpose"]


def conv(attributes: str) -> str:
    return PLAIN.replace("Conv", f"Conv<{attributes}>")


def on_axes(squeezed: int, added: int) -> str:
    return PLAIN.replace("[-1]>(x)", f"[{squeezed}]>(x)").replace("[-1]>(c)", f"[{added}]>(c)")


def with_axes_inputs(inputs: str, body: str) -> tuple[str, str]:
    """The same nodes as since opset 13, where axes are an input."""
    constants: list[str] = []

    def as_input(match: re.Match[str]) -> str:
        op, axes, operand = match.groups()
        name = f"axes_{len(constants)}"
        constants.append(f"int64[{axes.count(',') + 1}] {name} = {{{axes}}}")
        return f"{op}({operand}, {name})"

    body = re.sub(r"(Squeeze|Unsqueeze)<axes = \[(.*?)\]>\((\w+)\)", as_input, body)
    separator = "," if "|" in inputs else " |"
    return f"{inputs}{separator} {', '.join(constants)}", body


def check(
    model: Model, rewrite: str, expected: list[str], sizes: Sizes = ({}, {}, {}), count: int = 1
) -> None:
    result = fixed(model, sizes, select=THESE)
    assert [each.rewrite for each in result.applied] == [rewrite] * count
    assert operators(result.model) == expected
    assert not result.refused


ACCEPTED_CONV: list[Accepted] = [
    ("float[2,4,9,1] x, float[6,4,3] w_k", PLAIN, ["Conv"]),
    *(
        (
            f"float[2,4,9,1] x, float[6,4,3] w_k, float[6] {bias}",
            *(PLAIN.replace("w_k)", f"w_k, {bias})"), ["Conv"]),
        )
        for bias in ("w_b", "b")
    ),
    ("float[2,4,9,1] x, float[4,1,3] w_k", conv("group = 4"), ["Conv"]),
    ("float[2,4,9,1] x, float[6,2,3] w_k", conv("group = 2, strides = [2]"), ["Conv"]),
    ("float[2,4,9,1] x, float[6,4,3] w_k", conv("dilations = [3]"), ["Conv"]),
    ("float[2,4,9,1] x, float[6,4,2] w_k", conv("pads = [0,3], strides = [3]"), ["Conv"]),
    ("float[2,4,9,1] x, float[6,4,3] w_k", conv("kernel_shape = [3]"), ["Conv"]),
    *(
        (
            "float[2,4,8,1] x, float[6,4,3] w_k",
            *(conv(f'auto_pad = "{mode}", strides = [2]'), ["Conv"]),
        )
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    ),
    ("float[2,5,1,1] x, float[1,1,3] w_k", ECA, TURNED),
    ("float[2,5,1,1] x, float[7,1,3] w_k", ECA, TURNED),
    # only one of the two transposes
    (
        "float[2,9,4,1] x, float[6,4,3] w_k",
        "t = Squeeze<axes = [-1]>(x); p = Transpose<perm = [0,2,1]>(t); c = Conv(p, w_k);"
        "y = Unsqueeze<axes = [-1]>(c)",
        ["Transpose", "Conv"],
    ),
    (
        "float[2,4,9,1] x, float[6,4,3] w_k",
        "t = Squeeze<axes = [-1]>(x); c = Conv(t, w_k); q = Transpose<perm = [0,2,1]>(c);"
        "y = Unsqueeze<axes = [-1]>(q)",
        ["Conv", "Transpose"],
    ),
    # without perm, Transpose reverses the axes
    (
        "float[9,4,2,1] x, float[6,4,3] w_k",
        "t = Squeeze<axes = [-1]>(x); p = Transpose(t); c = Conv(p, w_k); q = Transpose(c);"
        "y = Unsqueeze<axes = [-1]>(q)",
        TURNED,
    ),
    # other axes than the last
    ("float[2,4,1,9] x, float[6,4,3] w_k", on_axes(2, 2), TURNED),
    ("float[2,4,1,9] x, float[6,4,3] w_k", on_axes(-2, -2), TURNED),
    ("float[1,4,5,9] x, float[6,5,3] w_k", on_axes(0, 0), TURNED),
    ("float[2,1,4,9] x, float[6,4,3] w_k", on_axes(1, 3), ["Transpose", "Conv"]),
    ("float[2,4,9,1] x, float[6,4,3] w_k", on_axes(3, 0), ["Conv", "Transpose"]),
    # symbolic sizes
    ("float[N,1,L,1] x, float[1,1,5] w_k", conv("pads = [2,2]"), ["Conv"]),
    ("float[N,4,L,1] x, float[2,4,3] w_k", PLAIN, ["Conv"]),
]


@pytest.mark.parametrize("case", ACCEPTED_CONV, ids=lambda case: f"{case[0]} : {case[1]}"[:90])
@pytest.mark.parametrize("opset", [9, 13])
def test_conv1d_between_squeezes(case: Accepted, opset: int) -> None:
    inputs, body, expected = case
    if opset >= 13:
        inputs, body = with_axes_inputs(inputs, body)
    else:
        # ONNX infers negative axes since opset 11 only.
        body = re.sub(r"(?<=axes = \[)-\d", lambda axis: str(int(axis[0]) + 4), body)
    model = build(inputs, body, opset)
    check(model, CONV, expected, [{"N": n, "L": n + 4} for n in (1, 3, 8)])


def test_weight_that_a_node_holds() -> None:
    kernel = "k = Constant<value = float[1,1,3] {1.,2.,3.}>()"
    body = f"{kernel}; {PLAIN.replace('w_k', 'k')}"
    check(build("float[2,1,9,1] x", body, opset=11), CONV, ["Conv"])


X4 = "float[2,4,9,1] x, float[4,4,3] w_k"
RUN_TIME_AXES = "t = Squeeze(x, a); c = Conv(t, w_k); y = Unsqueeze(c, b)"
REFUSED_CONV = [
    # (inputs, body, opset, part of the reason)
    (X4.replace("w_k", "k"), PLAIN.replace("w_k", "k"), 9, "weight `k` is computed at run time"),
    ("float[2,4,9,1,1] x, float[4,4,3] w_k", on_axes(3, 3), 9, "does not have rank 4"),
    ("float[2,4,9,1,1] x, float[4,4,3,1] w_k", PLAIN, 9, "does not have rank 4"),
    ("float[4,9,1,1] x, float[4,9,3] w_k", PLAIN.replace("-1", "2,3"), 9, "`t` changes 2 axes"),
    (X4, PLAIN.replace("[-1]>(c)", "[3,4]>(c)"), 9, "`y` changes 2 axes"),
    (X4, PLAIN.replace("<axes = [-1]>(x)", "(x)"), 9, "`t`"),
    (f"{X4}, int64[1] a | int64[1] b = {{3}}", RUN_TIME_AXES, 13, "`t` has no constant axes"),
    (f"{X4}, int64[1] b | int64[1] a = {{3}}", RUN_TIME_AXES, 13, "`y` has no constant axes"),
]


@pytest.mark.parametrize(
    ("inputs", "body", "opset", "reason"), REFUSED_CONV, ids=lambda v: str(v)[:60]
)
def test_conv1d_that_does_not_fit(inputs: str, body: str, opset: int, reason: str) -> None:
    result = fixed(build(inputs, body, opset, outputs="float[] y"), select=THESE)
    assert result.applied == ()
    assert result.proven
    (refused,) = result.refused
    assert (refused.rewrite, refused.node) == (CONV, "y")
    assert reason in refused.reason


@pytest.mark.parametrize("tensor", ["t", "p", "c", "q"])
@pytest.mark.parametrize("reader", ["output", "node", "nested"])
def test_intermediate_results_that_others_read_stay(tensor: str, reader: str) -> None:
    dims = "2,5,1" if tensor in "tq" else "2,1,5"
    nested = (
        f"z = If (cond) <then_branch = f () => (float[{dims}] u) {{ u = Neg({tensor}) }},"
        f" else_branch = g () => (float[{dims}] v) {{ v = Relu({tensor}) }}>"
    )
    body, outputs = {
        "output": (ECA, f"y, {tensor}"),
        "node": (f"{ECA}; z = Neg({tensor})", "y, z"),
        "nested": (f"{ECA}; {nested}", f"y, float[{dims}] z"),
    }[reader]
    model = build("float[2,5,1,1] x, bool cond, float[1,1,3] w_k", body, 11, outputs)
    result = fixed(model, select=THESE)
    assert (result.applied, result.refused) == ((), ())
    assert operators(result.model)[:5] == ["Squeeze", "Transpose", "Conv", "Transpose", "Unsqueeze"]


def test_weight_that_others_read_stays() -> None:
    body = (
        "t = Squeeze<axes = [-1]>(x); c = Conv(t, w_k); u = Unsqueeze<axes = [-1]>(c);"
        "s = Squeeze<axes = [-1]>(u); d = Conv(s, w_k); y = Unsqueeze<axes = [-1]>(d);"
        "z = Neg(w_k)"
    )
    model = build("float[2,4,9,1] x, float[4,4,1] w_k", body, opset=11, outputs="y, z")
    check(model, CONV, ["Conv", "Conv", "Neg"], count=2)


# Expand

TORCHSCRIPT = (
    "s = Shape(x); o = ConstantOfShape<value = int64[1] {1}>(four); m = Mul(o, minus);"
    "b = Equal(s, m); w = Where(b, o, s); e = Expand(g, w); y = Mul(x, e)"
)
RUN_TIME = "s = Shape(x); e = Expand(g, s); "
PAIR = "float[2,3,5,5] x, float[2,3,1,1] g"
ACCEPTED_EXPAND: list[Accepted] = [
    *((PAIR, f"{RUN_TIME}y = {op}(x, e)", [op]) for op in ("Add", "Sub", "Mul", "Div", "Less")),
    *((PAIR, f"{RUN_TIME}y = {op}(e, x)", [op]) for op in ("Sub", "Div", "Less", "Equal")),
    (
        "uint8[2,3] x, uint8[3] g",
        *(f'{RUN_TIME}y = BitShift<direction = "LEFT">(x, e)', ["BitShift"]),
    ),
    ("bool[2,3] x, bool[2,1] g", f"{RUN_TIME}y = And(x, e)", ["And"]),
    ("int64[2,3] x, int64[3] g", f"{RUN_TIME}y = Sub(e, x)", ["Sub"]),
    (PAIR + " | int64[4] s = {2,3,5,5}", "e = Expand(g, s); y = Mul(x, e)", ["Mul"]),
    (PAIR + " | int64[1] s = {5}", "e = Expand(g, s); y = Mul(x, e)", ["Mul"]),
    ("float[N,3,H,W] x, float[N,3,1,1] g", f"{RUN_TIME}y = Sub(x, e)", ["Sub"]),
    ("float[N,3,H,W] x | float[1,3,1,1] g = {1.,2.,3.}", f"{RUN_TIME}y = Sub(e, x)", ["Sub"]),
    (
        "float[N,3,H,W] x, float[N,3,1,1] g | int64[1] four = {4}, int64 minus = {-1}",
        *(TORCHSCRIPT, ["Mul"]),
    ),
    ("float[2,3] x", "s = Shape(x); e = Expand(x, s); y = Mul(x, e)", ["Mul"]),
    # who else reads the Expand or its size operand keeps them
    (PAIR, f"{RUN_TIME}y = Mul(x, e); z = Neg(e)", ["Shape", "Expand", "Mul", "Neg"]),
    (PAIR, f"{RUN_TIME}y = Mul(x, e); z = Cast<to = 1>(s)", ["Shape", "Mul", "Cast"]),
]


@pytest.mark.parametrize("case", ACCEPTED_EXPAND, ids=lambda case: f"{case[0]} : {case[1]}"[:90])
def test_redundant_expand(case: Accepted) -> None:
    inputs, body, expected = case
    model = build(inputs, body, outputs="y, z" if "z =" in body else "y")
    check(model, EXPAND, expected, [{"N": n, "H": n + 1, "W": 4} for n in (1, 3, 5)])


@pytest.mark.parametrize(
    ("inputs", "body", "expected", "count"),
    [
        (PAIR, f"{RUN_TIME}y = Sub(x, e); z = Mul(e, x)", ["Sub", "Mul"], 2),
        (PAIR, f"{RUN_TIME}f = Expand(x, s); y = Sub(e, f); z = Neg(y)", ["Sub", "Neg"], 2),
        (PAIR, f"{RUN_TIME}f = Expand(e, s); y = Sub(x, f); z = Neg(y)", ["Sub", "Neg"], 2),
    ],
)
def test_several_expands(inputs: str, body: str, expected: list[str], count: int) -> None:
    check(build(inputs, body, outputs="y, z"), EXPAND, expected, count=count)


def test_expand_that_is_an_output_stays() -> None:
    result = fixed(build(PAIR, f"{RUN_TIME}y = Mul(x, e)", outputs="y, e"), select=THESE)
    assert operators(result.model) == ["Shape", "Expand", "Mul"]
    (consumer,) = [node for node in result.model.ir.graph if node.op_type == "Mul"]
    assert [value.name for value in consumer.inputs if value is not None] == ["x", "g"]


@pytest.mark.parametrize("operands", ["e, e", "e, f"])
def test_expand_that_is_both_operands(operands: str) -> None:
    body = f"{RUN_TIME}f = Expand(g, s); y = Mul({operands})"
    result = fixed(build(PAIR, body), select=THESE)
    assert "Expand" in operators(result.model)


@pytest.mark.parametrize("attributes", ["", "<fmod = 1>"])
def test_attributes_of_the_operator_survive(attributes: str) -> None:
    model = build("int64[2,3] x | int64[1] g = {3}", f"{RUN_TIME}y = Mod{attributes}(x, e)")
    result = tripoint.fix(model, target="7.1")
    inputs = {"x": feed(model)["x"] - 7}
    assert execute(result.model, inputs)[0].tolist() == execute(model, inputs)[0].tolist()


REFUSED_EXPAND = [
    (
        "float[2,3,1,1] x, float[2,3,1,1] g | int64[4] s = {2,3,5,5}",
        "e = Expand(g, s); y = Sub(x, e)",
        "becomes 5 only through Expand",
    ),
    (
        "float[2,3,H,W] x, float[2,3,1,1] g | int64[4] s = {2,3,5,5}",
        "e = Expand(g, s); y = Sub(x, e)",
        "becomes 5 only through Expand",
    ),
    (
        "float[N,3] x, float[1,3] g, float[M,3] o",
        "s = Shape(o); e = Expand(g, s); y = Sub(x, e)",
        "becomes M only through Expand",
    ),
    # the rank would change
    (
        "float[5,5] x, float[5,5] g | int64[4] s = {1,1,5,5}",
        "e = Expand(g, s); y = Add(x, e)",
        "an axis that only Expand adds",
    ),
    # PRelu broadcasts its slope only
    (
        "float[2,3] x, float[2,1] g",
        f"{RUN_TIME}y = PRelu(e, x)",
        "the proof failed: a shape changes",
    ),
    # a size that the caller decides
    (
        "float[2,3,5,5] x, float[2,3,1,1] g, int64[4] s",
        "e = Expand(g, s); y = Sub(x, e)",
        "only through Expand",
    ),
]


@pytest.mark.parametrize(("inputs", "body", "reason"), REFUSED_EXPAND, ids=lambda v: str(v)[:60])
def test_expand_that_is_needed(inputs: str, body: str, reason: str) -> None:
    model = build(inputs, body, outputs="float[] y")
    result = fixed(model, select=THESE)
    assert result.applied == ()
    (refused,) = result.refused
    assert (refused.rewrite, refused.node) == (EXPAND, "y")
    assert reason in refused.reason
    assert result.before == result.after


def test_operators_that_do_not_broadcast_keep_the_expand() -> None:
    result = fixed(build(PAIR, f"{RUN_TIME}y = Concat<axis = 1>(x, e)"), select=THESE)
    assert (result.applied, result.refused) == ((), ())
    expand = result.remaining[0]
    assert (expand.tensor, expand.node, expand.lost) == ("e", "e", (0, 1, 2, 3))
    assert "no rewrite" in expand.reason


# Global average pool

MEAN = "y = ReduceMean(x, a)"


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ("float[2,3,5,5] x | int64[2] a = {2,3}", MEAN),
        ("float[2,3,5,5] x | int64[2] a = {-1,-2}", "y = ReduceMean<keepdims = 1>(x, a)"),
        ("float[N,3,H,W] x | int64[2] a = {2,-1}", MEAN),
        ("float[2,3,5] x | int64[1] a = {2}", MEAN),
        ("float[2,3,4,5,6] x | int64[3] a = {4,2,3}", MEAN),
    ],
)
def test_global_average_pool(inputs: str, body: str) -> None:
    model = build(inputs, body, opset=18)
    sizes = [{"N": n, "H": n + 1, "W": 4} for n in (1, 3, 5)]
    check(model, POOL, ["GlobalAveragePool"], sizes)


REFUSED_POOL = [
    ("float[2,3,5,5] x | int64[2] a = {2,3}", "y = ReduceMean<keepdims = 0>(x, a)", "drops"),
    ("float[2,3,5,5] x | int64[2] a = {1,2}", MEAN, "not reduce exactly the spatial axes"),
    ("float[2,3,5,5] x | int64[1] a = {3}", MEAN, "not reduce exactly the spatial axes"),
    ("float[2,3,5,5] x | int64[3] a = {1,2,3}", MEAN, "not reduce exactly the spatial axes"),
    (
        "float[2,3,5,5] x | int64[0] a = {}",
        "y = ReduceMean<noop_with_empty_axes = 1>(x, a)",
        "not reduce exactly the spatial axes",
    ),
    ("int64[2,3,5,5] x | int64[2] a = {2,3}", MEAN, "not floating point"),
    ("float[2,3] x | int64[1] a = {1}", MEAN, "no spatial axes"),
    ("float[2,3,5,5] x, int64[2] a", MEAN, "computed at run time"),
]


@pytest.mark.parametrize(("inputs", "body", "reason"), REFUSED_POOL, ids=lambda v: str(v)[:60])
def test_mean_that_is_no_pool(inputs: str, body: str, reason: str) -> None:
    result = fixed(build(inputs, body, opset=18, outputs="float[] y"), select=THESE)
    assert result.applied == ()
    (refused,) = result.refused
    assert (refused.rewrite, refused.node) == (POOL, "y")
    assert reason in refused.reason


@pytest.mark.parametrize(
    ("body", "opset"),
    [("y = ReduceMean<axes = [2,3]>(x)", 13), ("y = ReduceMean(x)", 18)],
)
def test_mean_without_an_axes_input_stays(body: str, opset: int) -> None:
    result = fixed(build("float[2,3,5,5] x", body, opset), select=THESE)
    assert (result.applied, result.refused) == ((), ())


# What holds for all rewrites


def annotated() -> Model:
    """Every rewrite fits once, and every node has a name, a doc string and a stack trace."""
    eca_of_v = ECA.replace("(x)", "(v)").replace("y =", "g =")
    inputs, eca_of_v = with_axes_inputs(
        "float[N,5,H,W] x, float[1,1,3] w_k | int64[2] hw = {2,3}", eca_of_v
    )
    model = build(
        inputs,
        f"v = ReduceMean(x, hw); {eca_of_v}; {RUN_TIME}y = Mul(x, e)",
        opset=18,
        outputs='float[N,5,H,"W"] y',
    )
    for node in model.ir.graph:
        node.name = f"/net/{node.outputs[0].name}"
        node.doc_string = f"makes {node.outputs[0].name}"
        node.metadata_props[STACK_TRACE] = f'File "{node.outputs[0].name}.py", line 3, in forward'
    return model


def test_names_metadata_and_interface_survive() -> None:
    model = annotated()
    result = fixed(model, [{"N": 2, "H": 3, "W": 4}], select=THESE)
    assert [each.rewrite for each in result.applied] == [POOL, CONV, EXPAND]
    nodes = list(result.model.ir.graph)
    assert [node.op_type for node in nodes] == ["GlobalAveragePool", *TURNED, "Mul"]
    assert len({node.name for node in nodes}) == len(nodes)
    old = {node.name: node for node in model.ir.graph}
    traces = {node.metadata_props[STACK_TRACE] for node in old.values()}
    for node in nodes:
        assert node.metadata_props[STACK_TRACE] in traces
        assert (node.doc_string or "").startswith("makes ")
    assert [node.metadata_props[STACK_TRACE].split('"')[1] for node in nodes] == [
        *("v.py", "p.py", "c.py", "q.py", "y.py")
    ]
    assert [value.name for node in nodes for value in node.outputs if value.name in "vgy"] == [
        *("v", "g", "y")
    ]
    names = {node.name for node in nodes}
    gone = {name for name in old if name not in names}
    assert gone
    # What only computed sizes is gone without an heir.
    assert gone - {"/net/s"} <= result.renamed.keys() <= gone
    assert set(result.renamed.values()) <= names
    assert result.renamed["/net/e"] == "/net/y"


def test_every_name_of_the_result_is_unique() -> None:
    block = (
        "{1}t = Squeeze<axes = [2]>({0}); {1}c = Conv<pads = [1,1]>({1}t, w_k);"
        "{1} = Unsqueeze<axes = [2]>({1}c)"
    )
    body = "; ".join(block.format(*pair) for pair in ("xp", "pq", "qy"))
    model = build("float[2,4,1,9] x, float[4,4,3] w_k", body, opset=9)
    result = fixed(model, select=THESE)
    assert operators(result.model) == TURNED * 3
    graph = result.model.ir.graph
    values = [value.name for node in graph for value in node.outputs]
    assert len(set(values) | set(graph.initializers)) == len(values) + len(graph.initializers)
    assert len({node.name or node.outputs[0].name for node in graph}) == 9
    ir.to_proto(result.model.ir)


def test_select_and_progress() -> None:
    lines: list[str] = []
    result = tripoint.fix(annotated(), target="7.1", select=[EXPAND], on_progress=lines.append)
    assert [each.rewrite for each in result.applied] == [EXPAND]
    assert lines == ["redundant-expand: y"]
    assert tripoint.fix(annotated(), target="7.1", select=[]).applied == ()
    with pytest.raises(UsageError, match="unknown rewrite 'nope'") as caught:
        tripoint.fix(annotated(), target="7.1", select=["nope"])
    assert all(rewrite.name in str(caught.value) for rewrite in all_rewrites())


def test_without_numbers_the_proof_says_so() -> None:
    result = tripoint.fix(annotated(), target="7.1", select=THESE, numeric=False)
    assert len(result.applied) == 3
    assert result.proof is not None
    for proof in (result.proof, *(each.proof for each in result.applied)):
        assert (proof.symbolic, proof.numeric.status, proof.holds) == ("holds", "skipped", True)
        assert proof.numeric.points == ()
        assert proof.numeric.max_abs_error is None
    assert_same_function(annotated(), result.model, [{"N": 2, "H": 3, "W": 4}])


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        # a size that values decide
        (
            "float[K] x",
            "n = NonZero(x); s = Shape(n); e = Expand(n, s); i = Add(e, n); y = Cast<to = 1>(i)",
        ),
        # a size that is rounded up
        (
            "float[1,3,H,W] i",
            "x = MaxPool<kernel_shape = [3,3], strides = [2,2], ceil_mode = 1>(i);"
            f"g = GlobalAveragePool(x); {RUN_TIME}y = Mul(x, e)",
        ),
        # a size that is negative at some of the points tried
        ('float["N-2",3] x, float[1,3] g', f"{RUN_TIME}y = Mul(x, e)"),
    ],
)
def test_unusual_sizes_do_not_stop_a_fix(inputs: str, body: str) -> None:
    result = tripoint.fix(build(inputs, body, outputs="float[] y"), target="7.1", select=THESE)
    names = [a.rewrite for a in result.applied] + [r.rewrite for r in result.refused]
    assert names == [EXPAND]
    assert result.proven


# Random models


@st.composite
def squeezed_convolutions(draw: st.DrawFn) -> tuple[str, str, Sizes]:
    """A 1-D convolution on any axis of a 4-D tensor, with everything that it can carry."""
    group, channels = draw(st.sampled_from([(1, 1), (1, 3), (2, 4), (3, 3)]))
    kernel, outputs = draw(st.integers(1, 5)), group * draw(st.integers(1, 3))
    dilation, stride = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    pads = [draw(st.integers(0, 2)), draw(st.integers(0, 2))]
    length = draw(st.sampled_from(["L", str((kernel - 1) * dilation + draw(st.integers(1, 6)))]))
    to_conv, from_conv = draw(st.permutations(range(3))), draw(st.permutations(range(3)))
    dims = [""] * 3
    for position, axis in enumerate(to_conv):
        dims[axis] = (draw(st.sampled_from(["N", "2"])), str(channels), length)[position]
    squeezed, added = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    dims.insert(squeezed, "1")
    bias = draw(st.sampled_from(["", f", float[{outputs}] w_b"]))
    weights = f"float[{outputs},{channels // group},{kernel}] w_k{bias}"
    axis, other = draw(st.sampled_from([0, -4])), draw(st.sampled_from([0, -4]))
    body = (
        f"t = Squeeze<axes = [{squeezed + axis}]>(x); p = Transpose<perm = {to_conv}>(t);"
        f"c = Conv<group = {group}, strides = [{stride}], dilations = [{dilation}], pads = {pads}>"
        f"(p, w_k{', w_b' if bias else ''}); q = Transpose<perm = {from_conv}>(c);"
        f"y = Unsqueeze<axes = [{added + other}]>(q)"
    )
    inputs, body = with_axes_inputs(f"float[{','.join(dims)}] x, {weights}", body)
    return inputs, body, [{"N": n, "L": draw(st.integers(9, 20))} for n in (1, 3)]


@settings(max_examples=60, deadline=None)
@given(squeezed_convolutions())
def test_any_squeezed_convolution_keeps_its_numbers(case: tuple[str, str, Sizes]) -> None:
    inputs, body, sizes = case
    model = build(inputs, body)
    result = tripoint.fix(model, target="7.1", numeric=False)
    assert [each.rewrite for each in result.applied] == [CONV]
    assert "Squeeze" not in operators(result.model)
    assert_same_function(model, result.model, sizes)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([1, 2, 5, 16]),
    st.sampled_from([1, 3, 5, 7]),
    st.integers(1, 2),
    st.sampled_from([2, 3]),
    st.sampled_from([("N", "H", "W"), ("2", "6", "7"), ("N", "6", "6")]),
    st.booleans(),
    st.integers(2, 9),
)
def test_any_eca_block_is_fixed(
    channels: int,
    kernel: int,
    stride: int,
    axis: int,
    dims: tuple[str, str, str],
    gate_first: bool,
    size: int,
) -> None:
    n, h, w = dims
    eca = ECA.replace("(x)", "(v)").replace("y =", "g =").replace("[1,1]", str([kernel // 2] * 2))
    model = build(
        f"float[{n},3,{h},{w}] x, float[{channels},3,3,3] w_i, float[1,1,{kernel}] w_k",
        f"i = Conv<pads = [1,1,1,1], strides = [{stride},{stride}]>(x, w_i);"
        f"v = GlobalAveragePool(i); {eca.replace('[-1]', f'[{axis}]')}; f = Sigmoid(g);"
        f"s = Shape(i); e = Expand(f, s); y = Mul({'e, i' if gate_first else 'i, e'})",
        opset=9,
    )
    result = tripoint.fix(model, target="7.1")
    assert [each.rewrite for each in result.applied] == [CONV, EXPAND]
    assert result.proven
    assert result.after.lost_dims == 0
    sizes = [{"N": k, "H": size + k, "W": size} for k in (1, 2)]
    assert_same_function(model, result.model, sizes)


def test_result_is_the_same_in_every_run() -> None:
    contents = {to_bytes(tripoint.fix(annotated(), target="7.1").model) for _ in range(3)}
    assert len(contents) == 1


def test_names_of_rewrites_are_where_onnxscript_has_those_of_its_rules():
    from onnxscript.rewriter import RULE_NAME_TAG

    assert transaction.RULE_NAME_TAG == RULE_NAME_TAG
