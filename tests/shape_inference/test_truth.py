"""True shapes: integers, expressions, sizes that values decide and their bounds, in all scopes."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from tests.helpers.graphs import build, to_bytes
from tripoint.errors import InputError
from tripoint.shape_inference import truth
from tripoint.shape_inference.truth import Truth
from tripoint.symbols import Dim, Shape, equal, evaluate
from tripoint.table import Bound


def infer(inputs: str, body: str, opset: int = 18, outputs: str = "float[] y") -> Truth:
    return truth.infer(build(inputs, body, opset, outputs).ir)


def parsed(text: str) -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(text))


def same(shape: Shape | None, expected: Shape) -> bool:
    assert shape is not None
    return len(shape) == len(expected) and all(
        equal(a, b) for a, b in zip(shape, expected, strict=True)
    )


# Values of shape tensors

PAD_OF_TORCHSCRIPT = """
zeros = ConstantOfShape<value = int64[1] {0}>(rest)
all = Concat<axis = 0>(given, zeros)
pairs = Reshape(all, two)
turned = Slice(pairs, minus, far, first, minus)
across = Transpose<perm = [1,0]>(turned)
pads = Reshape(across, flat)
y = Pad(x, pads)
"""
PAD_OPERANDS = (
    "int64[1] rest = {4}, int64[4] given = {1,2,3,4}, int64[2] two = {-1,2}, int64[1] flat = {-1},"
    "int64[1] minus = {-1}, int64[1] far = {-9223372036854775807}, int64[1] first = {0}"
)

SHAPES: list[tuple[str, str, Shape]] = [
    (f"float[N,3,H,W] x | {PAD_OPERANDS}", PAD_OF_TORCHSCRIPT, ("N", 3, "H + 7", "W + 3")),
    # Float arithmetic on sizes, as in Resize by a scale.
    (
        "float[1,3,H,8] x | int64[1] i = {2}, float[1] k = {0.5}, int64[3] known = {1,3,8},"
        "int64[1] a = {0}, int64[1] b = {2}, int64[1] c = {3}, float[0] none = {}",
        "s = Shape(x); h = Gather(s, i); f = Cast<to = 1>(h); m = Mul(f, k); r = Floor(m);"
        "t = Cast<to = 7>(r); front = Slice(known, a, b); back = Slice(known, b, c);"
        "sizes = Concat<axis = 0>(front, t, back); y = Resize(x, none, none, sizes)",
        (1, 3, "floor(H/2)", 8),
    ),
    ("float[N,4] x, float[M,4] z", "y = Add(x, z)", ("Max(N, M)", 4)),
    ("float[N,4] x, float[1,4] z", "y = Add(x, z)", ("N", 4)),
    ("float[N,4] x, float[7,4] z", "y = Add(x, z)", (7, 4)),
    ("float[N,2,3] x, float[M,3,5] z", "y = MatMul(x, z)", ("Max(N, M)", 2, 5)),
    ("float[3] x, float[N,3,5] z", "y = MatMul(x, z)", ("N", 5)),
    ("float[N,2,3] x, float[3] z", "y = MatMul(x, z)", ("N", 2)),
    ("float[3] x, float[3] z", "y = MatMul(x, z)", ()),
    (
        "float[N,4] x | int64[1] b = {1}, int64[1] e = {5}, int64[1] a = {0}",
        "y = Slice(x, b, e, a)",
        ("Max(0, Min(5, N) - Min(1, N))", 4),
    ),
    (
        "float[N,4] x | int64[1] b = {-3}, int64[1] e = {9223372036854775807}, int64[1] a = {0}",
        "y = Slice(x, b, e, a)",
        ("Min(N, 3)", 4),
    ),
    (
        "float[N] x | int64[1] b = {-1}, int64[1] e = {-9223372036854775808}, int64[1] a = {0},"
        "int64[1] k = {-2}",
        "y = Slice(x, b, e, a, k)",
        ("floor((N + 1)/2)",),
    ),
    ("float[N] x", "a, b, y = Split<num_outputs = 3>(x)", ("N - 2*floor((N + 2)/3)",)),
    ("float[N,1,3] x", "y = Squeeze(x)", ("N", 3)),
    (
        "float[N] x | int64 zero = {0}, int64 two = {2}",
        "n = Size(x); r = Range(zero, n, two); y = Cast<to = 1>(r)",
        ("floor((N + 1)/2)",),
    ),
    ("float[N,3] x | int64[2] r = {2,5}", "y = Tile(x, r)", ("2*N", 15)),
    ("float[N,3] x", "s = Shape(x); y = Tile(x, s)", ("N**2", 9)),
    (
        "float[N,8] x | int64[1] i = {1}",
        "s = Shape(x); k = Gather(s, i); y, at = TopK(x, k)",
        ("N", 8),
    ),
    (
        "float[N,3,H,8] x",
        "y = AveragePool<kernel_shape = [2,2], strides = [2,2], ceil_mode = 1>(x)",
        ("N", 3, "floor((H - 1)/2) + 1", 4),
    ),
    (
        "float[N,3,H,8] x",
        'y = MaxPool<kernel_shape = [3,3], strides = [2,2], auto_pad = "SAME_UPPER">(x)',
        ("N", 3, "floor((H + 1)/2)", 4),
    ),
    (
        "float[N,3,H,8] x, float[3,5,3,3] w_k",
        "y = ConvTranspose<strides = [2,2], output_shape = [15,16]>(x, w_k)",
        ("N", 5, 15, 16),
    ),
    (
        "float[1,3,20,10] x | float[0] none = {}, int64[2] sizes = {10,7}",
        'y = Resize<axes = [2,3], keep_aspect_ratio_policy = "not_larger">(x, none, none, sizes)',
        (1, 3, 10, 5),
    ),
    ("float[N,0] x | int64[2] m = {0,-1}", "y = Reshape<allowzero = 0>(x, m)", ("N", 0)),
    ("float[A,B] x | int64[2] m = {-1,1}", "y = Reshape(x, m)", ("A*B", 1)),
    ("float[N,6] x, int64[1] k", "z = Concat<axis = 0>(k, k); y = Reshape(x, z)", ()),
]


@pytest.mark.parametrize(("inputs", "body", "expected"), SHAPES[:-1], ids=lambda v: str(v)[:40])
def test_true_shape(inputs: str, body: str, expected: Shape) -> None:
    found = infer(inputs, body)
    assert same(found.shapes["y"], expected), found.shapes["y"]
    assert found.contradictions == ()
    assert found.data_dependent == frozenset()


def test_equal_sizes_read_the_same() -> None:
    # Two ways to halve: a strided convolution, and pooling that rounds up.
    found = infer(
        "float[N,3,H,W] x, float[3,3,3,3] w_k",
        "a = Conv<strides = [2,2], pads = [1,1,1,1]>(x, w_k); c = Conv<strides = [2,2],"
        "pads = [1,1,1,1]>(a, w_k); b = AveragePool<kernel_shape = [4,4], strides = [4,4],"
        "ceil_mode = 1>(x); y = Add(c, b)",
    )
    assert found.shapes["c"] == found.shapes["b"] == found.shapes["y"]
    assert same(found.shapes["y"], ("N", 3, "floor((H + 3)/4)", "floor((W + 3)/4)"))


@pytest.mark.parametrize("size", range(1, 12))
def test_a_bound_whose_sign_depends_on_the_size(size: int) -> None:
    # x[: N - 7] counts from the end where N is less than 7.
    found = infer(
        "float[N] x | int64[1] seven = {7}, int64[1] b = {0}",
        "s = Shape(x); e = Sub(s, seven); y = Slice(x, b, e)",
    )
    (dim,) = found.shapes["y"] or ()
    assert evaluate(dim, {"N": size}) == len(range(size)[: size - 7])


# Sizes that values decide

DATA: list[tuple[str, str, str, Dim | None, int]] = [
    ("float[N,4] x", "y = NonZero(x)", "NonZero", "4*N", 0),
    ("float x", "y = NonZero(x)", "NonZero", 1, 0),
    ("float[N,4] x, bool[3] c", "y = Compress<axis = 0>(x, c)", "Compress", "Min(3, N)", 0),
    ("float[N,4] x, bool[K] c", "y = Compress(x, c)", "Compress", "Min(K, 4*N)", 0),
    ("float[N,4] x", "y = Unique(x)", "Unique", "4*N", 1),
    ("float[N,4] x", "y = Unique<axis = 1>(x)", "Unique", 4, 1),
    ("float[N,9] x, int64[1] k", "y, at = TopK(x, k)", "TopK", 9, 0),
    ("float[9] x, int64[1] b, int64[1] e", "y = Slice(x, b, e)", "Slice", 9, 0),
    ("int64 x, int64 b, int64 e", "y = Range(x, b, e)", "Range", None, 0),
    (
        "float[2,B,4] x, float[2,C,B] s | int64 m = {5}",
        "y = NonMaxSuppression(x, s, m)",
        "NonMaxSuppression",
        "2*C*Min(5, B)",
        0,
    ),
    ("bool c, float[3,4] x, float[7,4] z", "", "If", 7, 3),
]


@pytest.mark.parametrize(("inputs", "body", "op", "most", "least"), DATA, ids=lambda v: str(v)[:30])
def test_bounds(inputs: str, body: str, op: str, most: Dim | None, least: int) -> None:
    if op == "If":
        body = (
            "y = If(c)<then_branch = t () => (float[] a) { a = Relu(x) },"
            "else_branch = e () => (float[] b) { b = Relu(z) }>"
        )
    found = infer(inputs, body, outputs="y" if op in ("NonZero", "Range") else "float[] y")
    (bound,) = found.bounds
    assert bound.symbol in found.data_dependent
    assert (bound.tensor, bound.op, bound.least) == ("y", op, least)
    assert bound.most is None if most is None else equal(bound.most, most)


def test_what_is_computed_from_such_a_size_is_data_dependent_too() -> None:
    found = infer(
        "float[N,4] x, float[4,M] z | int64[1] i = {1}, int64[1] three = {3}, int64 one = {1},"
        "int64 zero = {0}",
        "n = NonZero(x); s = Shape(n); c = Gather(s, i); k = Min(c, three); y, at = TopK(n, k);"
        "row = Gather(n, zero); t = Transpose(n); u = MatMul(z, z);"
        "e = Expand(row, c); d = Squeeze(c); f = Cast<to = 1>(d); q = Sqrt(f); w = Exp(f);"
        "v = Cast<to = 7>(w); r = Range(zero, v, one)",
        outputs="y, r, e",
    )
    (nonzero,) = (bound.symbol for bound in found.bounds if bound.op == "NonZero")
    assert found.shapes["n"] == (2, nonzero)
    assert same(found.shapes["y"], (2, f"Min(3, {nonzero})"))
    assert found.shapes["t"] == (nonzero, 2)
    # How Range depends on it is not an expression, but it is data all the same.
    (fresh,) = found.shapes["r"] or ()
    assert fresh in found.data_dependent
    assert all(bound.symbol in found.data_dependent for bound in found.bounds)


@pytest.mark.parametrize("op", ["Bernoulli", "RandomUniformLike"])
def test_a_size_out_of_random_numbers_is_data_dependent(op: str) -> None:
    found = infer(
        "float[3] x, float[1] w_p",
        f"r = {op}(w_p); n = Cast<to = 7>(r); y = Expand(w_p, n)",
    )
    (dim,) = found.shapes["y"] or ()
    assert dim in found.data_dependent


def test_a_count_may_be_zero() -> None:
    found = infer(
        "float[N] x | int64[1] i = {1}, int64[1] one = {1}",
        "n = NonZero(x); s = Shape(n); c = Gather(s, i); k = Max(c, one); y = Expand(one, k)",
        outputs="int64[] y",
    )
    (symbol,) = found.data_dependent
    (dim,) = found.shapes["y"] or ()
    assert [evaluate(dim, {symbol: count}) for count in (0, 1, 5)] == [1, 1, 5]


def test_custom_operators_are_named() -> None:
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 17, "my.domain" : 1]>'
        "g (float[N,4] x) => (float[] y) { a = my.domain.Strange(x) y = Relu(a) }"
    )
    found = truth.infer(model)
    assert found.unknown == ("my.domain::Strange",)
    assert found.shapes["a"] is None
    assert found.contradictions == ()


# Nested graphs


def nested(text: str, inputs: str, outputs: str, opset: int = 17) -> Truth:
    return truth.infer(
        parsed(
            f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => ({outputs}) {{{text}}}'
        )
    )


def test_if_with_a_decided_condition_is_its_branch() -> None:
    found = nested(
        "s = Shape<start = 1, end = 2>(x) one = Constant<value = int64[1] {1}>() c = Equal(s, one)"
        "y = If (c) <then_branch = t () => (float[] a) { a = Squeeze(x, one) },"
        "            else_branch = e () => (float[] b) { b = Relu(x) }>"
        "z = Relu(y)",
        "float[N,4] x",
        "float[] z",
    )
    assert found.shapes["z"] == ("N", 4)
    # What is not run may not even fit.
    assert found.contradictions == ()
    assert found.shapes["b"] == ("N", 4)


def test_branches_that_differ_in_rank_leave_the_rank_open() -> None:
    found = nested(
        "y = If (c) <then_branch = t () => (float[] a) { a = ReduceSum<keepdims = 0>(x) },"
        "            else_branch = e () => (float[] b) { b = Relu(x) }>",
        "bool c, float[N,4] x",
        "float[] y",
    )
    assert found.shapes["y"] is None
    assert found.shapes["a"] == ()


LOOP = (
    "count = Constant<value = int64 {3}>() go = Constant<value = bool {1}>()"
    "y, rows = Loop (count, go, x) <body = b (int64 i, bool before, float[] v) =>"
    " (bool after, float[] w, float[] row) { after = Identity(before) %s row = Relu(outer) }>"
)


@pytest.mark.parametrize(
    ("step", "kept"),
    [("w = Relu(v)", True), ("w = Concat<axis = 0>(v, outer)", False), ("w = Add(v, v)", True)],
)
def test_loop_keeps_only_what_each_iteration_keeps(step: str, kept: bool) -> None:
    found = nested(LOOP % step, "float[N,4] x, float[M,4] outer", "float[] y, float[] rows")
    y = found.shapes["y"]
    assert y is not None
    assert y[1] == 4
    assert (y[0] == "N") == kept
    assert kept or y[0] in found.data_dependent
    # Inside the loop and behind it the size is not the same one.
    assert (found.shapes["w"] == y) == kept
    assert found.shapes["rows"] == (3, "M", 4)
    assert found.shapes["i"] == ()


def test_a_loop_that_may_stop_early_stacks_at_most_so_many() -> None:
    found = nested(
        "go = Constant<value = bool {1}>()"
        "rows = Loop (count, go) <body = b (int64 i, bool before) => (bool after, float[] row)"
        " { s = ReduceSum<keepdims = 0>(x) n = Cast<to = 9>(s) after = And(n, before)"
        " row = Relu(x) }>",
        "int64 count, float[N] x",
        "float[] rows",
    )
    assert found.shapes["rows"] is not None
    length, width = found.shapes["rows"]
    assert width == "N"
    assert length in found.data_dependent


def test_scan_stacks_along_the_axis_that_is_asked_for() -> None:
    found = nested(
        "y, z = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [-1],"
        " body = b (float[] state, float[] part) => (float[] next, float[] out)"
        " { next = Add(state, part) out = Relu(next) }> (s, x)",
        "float[N,3] s, float[N,T,3] x",
        "float[] y, float[] z",
    )
    assert found.shapes["y"] == ("N", 3)
    assert found.shapes["z"] == ("N", 3, "T")
    assert found.shapes["part"] == ("N", 3)


def test_each_tensor_has_a_name_of_its_own() -> None:
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 17]> g (bool c, float[N] x) => (float[] y) {'
        "a = Neg(x)"
        "[choice] y = If (c) <then_branch = t () => (float[] a) { a = Relu(x) only = Exp(a) },"
        "            else_branch = e () => (float[] b) { b = Concat<axis = 0>(x, x) }> }"
    )
    named = truth.names(model)
    assert len(set(named.values())) == len(named)
    assert set(named.values()) == {"c", "x", "a", "y", "choice/then_branch/a", "only", "b"}
    found = truth.infer(model)
    assert found.shapes.keys() == set(named.values())
    assert found.shapes["b"] == ("2*N",)
    assert found.shapes["choice/then_branch/a"] == ("N",)


def test_names_stay_apart_however_they_are_chosen() -> None:
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 17]> g (bool c, float[N] x) => (float[] y) {'
        "a = Neg(x) d = Neg(x)"
        "[i] y = If (c) <then_branch = t () => (float[] a) { a = Relu(x) },"
        "               else_branch = e () => (float[] b) { b = Relu(x) }>"
        "[i] z = If (c) <then_branch = t () => (float[] a) { a = Relu(x) },"
        "               else_branch = e () => (float[] b) { b = Relu(x) }> }"
    )
    for value in truth.values(model):
        value.name = "i/then_branch/a" if value.name == "d" else value.name
    named = truth.names(model)
    assert len(set(named.values())) == len(named) == 10
    assert "i/then_branch/a#2" in named.values()


# Local functions

FUNCTIONS = """
<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
g (float[N,4] x) => (float[] y) {{ a = local.Twice(x) y = local.Twice(a) }}
<domain: "local", opset_import: ["" : {opset}, "local" : 1]>
Twice (v) => (w) {{ t = {inner}(v) w = Concat<axis = 0>(t, t) }}
"""


def test_functions_are_looked_into() -> None:
    model = parsed(FUNCTIONS.format(opset=17, inner="Relu"))
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    flat = truth.inlined(model)
    found = truth.infer(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    assert [node.op_type for node in flat.graph] == ["Relu", "Concat", "Relu", "Concat"]
    assert found.shapes.keys() == set(truth.names(flat).values())
    assert {"t", "t_2", "a", "y"} <= found.shapes.keys()
    assert (found.shapes["t"], found.shapes["t_2"]) == (("N", 4), ("2*N", 4))
    assert found.shapes["y"] == ("4*N", 4)
    # Whoever annotates gets the shapes on the calls.
    truth.annotate(model)
    assert [str(node.outputs[0].shape) for node in model.graph] == ["[2*N,4]", "[4*N,4]"]


def test_a_model_without_functions_is_itself() -> None:
    model = build("float[N] x", "y = Relu(x)").ir
    assert truth.inlined(model) is model


@pytest.mark.parametrize(
    ("opset", "inner", "reason"),
    [(17, "local.Twice", "in a circle: Twice -> Twice"), (16, "Relu", "Opset mismatch")],
)
def test_functions_that_cannot_be_inlined_are_refused(opset: int, inner: str, reason: str) -> None:
    model = parsed(FUNCTIONS.format(opset=opset, inner=inner))
    with pytest.raises(InputError, match=reason):
        truth.infer(model)


def test_functions_that_grow_without_measure_are_refused() -> None:
    functions = "".join(
        f'<domain: "l", opset_import: ["" : 17, "l" : 1]>'
        f"F{i} (v) => (w) {{ t = l.F{i + 1}(v) w = l.F{i + 1}(t) }}"
        for i in range(40)
    )
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 17, "l" : 1]> g (float[N] x) => (float[] y)'
        f"{{ y = l.F0(x) }} {functions}"
        '<domain: "l", opset_import: ["" : 17]> F40 (v) => (w) { w = Relu(v) }'
    )
    with pytest.raises(InputError, match=f"has {2**40} nodes"):
        truth.infer(model)


# Odd input


@pytest.mark.parametrize(
    ("inputs", "body", "said"),
    [
        ("float[2,3] x, float[4,5] z", "y = Add(x, z)", "do not broadcast"),
        ("float[2,3] x", "y = Transpose<perm = [0,0]>(x)", None),
        ("float[2,3] x | int64[1] a = {5}", "y = Unsqueeze(x, a)", "outside of rank"),
        ("float[2,3] x | int64[1] a = {1}", "y = Squeeze(x, a)", "cannot be squeezed"),
        ("float[2,3] x, float[3] z", "y = Concat<axis = 0>(x, z)", "ranks"),
        ("float[2,3] x", "y = Concat<axis = 7>(x, x)", "outside of rank"),
        ("float[2,3] x", "y = MaxPool<kernel_shape = [3]>(x)", None),
        ("float[1,1,2,2] x", "y = MaxPool<kernel_shape = [5,5]>(x)", "a size would be"),
        (
            "float[1,1,4,4] x",
            "y = MaxPool<kernel_shape = [2,2], strides = [0,1]>(x)",
            "less than 1",
        ),
        ("float[4] x | int64[1] z = {0}, int64[1] e = {4}", "y = Slice(x, z, e, z, z)", "step"),
        ("float[4] x | int64[2] m = {-1,-1}", "y = Reshape(x, m)", "more than one"),
        ("float[4] x | int64 z = {0}, int64 n = {5}", "y = Range(z, n, z)", "step is 0"),
        ("float[4] x | int64[1] k = {9000000000000000000}", "y = Tile(x, k)", None),
        ("float[4,4] x", "y = Conv(x, x)", "rank 2"),
        ("float[4] x", "y = Gather(x)", ""),
        ("float[2,3] x", "y = Split<axis = 9>(x)", ""),
    ],
)
def test_what_does_not_fit_is_said_and_the_rest_goes_on(
    inputs: str, body: str, said: str | None
) -> None:
    text, _, constants = inputs.partition("|")
    model = parsed(
        f'<ir_version: 8, opset_import: ["" : 13]> g ({text}) => (float[] y, float[] last)'
        f"{f'<{constants}>' if constants else ''}"
        f"{{ {body.replace(';', ' ')} b = Relu(x) last = Neg(b) }}"
    )
    found = truth.infer(model)
    assert found.shapes["b"] == found.shapes["x"]
    if said is not None:
        assert any(said in sentence for sentence in found.contradictions)


@pytest.mark.parametrize(
    ("opset", "body", "expected"),
    [
        (1, "y = Reshape<shape = [0,-1]>(x)", ("N", 12)),
        (1, "y = Add<broadcast = 1, axis = 1>(x, b)", ("N", 3, 4)),
        (1, "y = Slice<axes = [1], starts = [1], ends = [9]>(x)", ("N", 2, 4)),
        (1, "p, y = Split<axis = 2, split = [1,3]>(x)", ("N", 3, 3)),
        (1, "y, i = TopK<k = 2>(x)", ("N", 3, 2)),
        (6, "f = Flatten(x) y = Gemm<transB = 1>(f, f, b)", ("N", "N")),
        (9, "y = Slice<axes = [0], starts = [1], ends = [9]>(x)", ("Min(9, N) - Min(1, N)", 3, 4)),
    ],
)
def test_early_opsets(opset: int, body: str, expected: Shape) -> None:
    model = parsed(
        f'<ir_version: 3, opset_import: ["" : {opset}]>'
        f"g (float[N,3,4] x, float[3] b) => (float[] y) {{ {body} }}"
    )
    assert same(truth.infer(model).shapes["y"], expected)


def test_expressions_that_grow_are_given_up() -> None:
    names = [f"n{i}" for i in range(300)]
    inputs = ", ".join(f"float[{name}] x{i}" for i, name in enumerate(names))
    found = infer(inputs, f"y = Concat<axis = 0>({', '.join(f'x{i}' for i in range(300))})")
    (dim,) = found.shapes["y"] or ()
    assert dim not in found.symbols
    assert dim not in found.data_dependent


@pytest.mark.parametrize("rank", [None, 0, 2, 4])
def test_no_operator_fails_on_what_it_does_not_take(rank: int | None) -> None:
    for schema in onnx.defs.get_all_schemas_with_history():
        for count in (0, 1, 3):
            shape = ir.Shape(["N", 4, 0, "M"][:rank]) if rank is not None else None
            x = ir.Value(name="x", shape=shape, type=ir.TensorType(ir.DataType.FLOAT))
            node = ir.Node(schema.domain, schema.name, [x] * count, num_outputs=2)
            for index, output in enumerate(node.outputs):
                output.name = f"y{index}"
            imports = {"": 20, schema.domain: schema.since_version}
            graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports=imports, name="g")
            found = truth.infer(ir.Model(graph, ir_version=9))
            assert found.shapes.keys() == {"x", "y0", "y1"}


@pytest.mark.parametrize("name", ["_d0", "max", "batch size", "a.b", "", "3*", "-1", "ceiling(Q"])
def test_odd_names_of_symbols(name: str) -> None:
    model = build("float[N,4] x", "a = Concat<axis = 0>(x, x); y = NonZero(a)").ir
    model.graph.inputs[0].shape = ir.Shape([ir.SymbolicDim(name), 4])
    found = truth.infer(model)
    (symbol,) = found.symbols
    a = found.shapes["a"]
    assert a is not None
    assert evaluate(a[0], {symbol: 5}) == 10
    assert symbol not in found.data_dependent


def test_a_negative_size_of_an_input_is_an_unknown_one() -> None:
    model = build("float[N,4] x", "y = Relu(x)").ir
    model.graph.inputs[0].shape = ir.Shape([-1, 4])
    assert truth.infer(model).shapes["y"] == ("x_dim0", 4)


def test_the_model_is_not_changed() -> None:
    model = build(
        "float[N,4] x | int64[1] i = {0}",
        "s = Shape(x); n = Gather(s, i); four = Constant<value = int64[1] {4}>();"
        "t = Concat<axis = 0>(n, four); y = Reshape(x, t)",
    )
    before = to_bytes(model)
    truth.infer(model.ir)
    assert to_bytes(model) == before


def test_bounds_are_listed_once_in_graph_order() -> None:
    found = infer("float[N] x, float[M] z", "a = NonZero(x); b = NonZero(z); y = Relu(a)")
    assert [(bound.tensor, bound.most) for bound in found.bounds] == [("a", "N"), ("b", "M")]
    assert all(isinstance(bound, Bound) for bound in found.bounds)
