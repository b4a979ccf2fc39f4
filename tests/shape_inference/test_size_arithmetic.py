"""Sizes that shape arithmetic works out: as ONNX Runtime computes them, at many sizes each.

Every expression of the table is put beside what ONNX Runtime makes of the same graph, floats
included, where a rounding to the wrong side is a size that is off by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
import pytest

from tests.helpers.graphs import build, execute, to_bytes
from tripoint.shape_inference import constraints, truth
from tripoint.shape_inference.constraints.equation import Equation
from tripoint.shape_inference.constraints.evaluate import holds
from tripoint.symbols import Dim, evaluate, expression

SIZES = (
    1,
    2,
    3,
    5,
    7,
    8,
    10,
    15,
    16,
    29,
    31,
    33,
    50,
    63,
    64,
    100,
    101,
    127,
    224,
    225,
    300,
    511,
    1023,
)
"""Small ones, ones around powers of two, and those at which 0.3 and 60/29 are on the wrong side."""


def executed(
    inputs: str, body: str, opset: int, feeds: Sequence[dict[str, int]]
) -> list[list[int]]:
    """What ONNX Runtime computes for ``t`` at each point; ``x`` is of those sizes."""
    content = to_bytes(build(inputs, body, opset, "int64[n] t"))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options)
    found = []
    for point in feeds:
        given = {}
        for each in session.get_inputs():
            shape = [dim if isinstance(dim, int) else point[dim] for dim in each.shape]
            # One byte stands for all of it, so that large sizes cost nothing.
            given[each.name] = np.broadcast_to(np.zeros((), np.uint8), shape)
        found.append(session.run(["t"], given)[0].tolist())
    return found


def inferred(inputs: str, body: str, opset: int) -> tuple[Dim, ...]:
    """The elements of ``t``, by the shape of a tensor made of it."""
    known = truth.infer(build(inputs, f"{body}; y = ConstantOfShape(t)", opset, "float[] y").ir)
    assert not known.contradictions
    shape = known.shapes["y"]
    assert shape is not None
    return shape


CONSTANTS = (
    "float k = {0.3}, float q = {0.75}, float third = {0.33333334}, float sixty = {60.0},"
    "float lim = {100.0}, float half = {0.5}, double dk = {0.3}, double dt = {0.1},"
    "int64[1] zero = {0}, int64[1] one = {1}, int64 i0 = {0}, int64 i1 = {1}, int64 limit = {100},"
    "int64[2] pair = {3,7}, int64[2] turned = {1,0}, int64 i2 = {2}, int64[1] two = {2}"
)
FLOATS = "s = Shape(x); f = Cast<to = 1>(s);"
DOUBLES = "s = Shape(x); f = Cast<to = 11>(s);"
EACH = "h = Gather(f, i0); w = Gather(f, i1);"
INTEGERS = "s = Shape(x); h = Gather(s, i0); w = Gather(s, i1);"
TO_INTEGERS = "t = Cast<to = 7>(r)"

ARITHMETIC = {
    "truncated product": f"{FLOATS} r = Mul(f, k); {TO_INTEGERS}",
    "floor of a product": f"{FLOATS} m = Mul(f, k); r = Floor(m); {TO_INTEGERS}",
    "ceil of a product": f"{FLOATS} m = Mul(f, k); r = Ceil(m); {TO_INTEGERS}",
    "round of a product": f"{FLOATS} m = Mul(f, k); r = Round(m); {TO_INTEGERS}",
    "round of an exact product": f"{FLOATS} m = Mul(f, q); r = Round(m); {TO_INTEGERS}",
    "round of halves": f"{FLOATS} m = Mul(f, half); r = Round(m); {TO_INTEGERS}",
    "quotient by a scale": f"{FLOATS} m = Div(f, k); r = Ceil(m); {TO_INTEGERS}",
    "quotient of integers": f"{FLOATS} {EACH} m = Div(f, w); r = Floor(m); {TO_INTEGERS}",
    "shortest edge": f"{FLOATS} {EACH} n = Min(h, w); d = Div(sixty, n); m = Mul(f, d);"
    f"r = Floor(m); {TO_INTEGERS}",
    "longest edge": f"{FLOATS} {EACH} n = Max(h, w); d = Div(sixty, n); m = Mul(f, d);"
    f"r = Ceil(m); {TO_INTEGERS}",
    "product with a third": f"{FLOATS} m = Mul(f, third); r = Floor(m); {TO_INTEGERS}",
    "sum of roundings": f"{FLOATS} m = Mul(f, k); n = Div(f, sixty); a = Add(m, n); r = Ceil(a);"
    f"{TO_INTEGERS}",
    "rounded half up": f"{FLOATS} m = Mul(f, k); n = Add(m, half); r = Floor(n); {TO_INTEGERS}",
    "difference": f"{FLOATS} m = Mul(f, k); n = Sub(f, m); r = Ceil(n); {TO_INTEGERS}",
    "root of a size": f"{FLOATS} m = Sqrt(f); r = Floor(m); {TO_INTEGERS}",
    "root of a product": f"{FLOATS} {EACH} p = Mul(h, w); m = Sqrt(p); r0 = Ceil(m);"
    f"r = Mul(f, r0); {TO_INTEGERS}",
    "root of a square": f"{FLOATS} p = Mul(f, f); r = Sqrt(p); {TO_INTEGERS}",
    "power of a half": f"{FLOATS} m = Pow(f, half); r = Round(m); {TO_INTEGERS}",
    "square": f"{FLOATS} two32 = Cast<to = 1>(i2); m = Mul(f, k); p = Pow(m, two32); r = Floor(p);"
    f"{TO_INTEGERS}",
    "reciprocal": f"{FLOATS} m = Reciprocal(f); p = Mul(m, sixty); r = Floor(p); {TO_INTEGERS}",
    "where of two scales": f"{FLOATS} c = Greater(f, lim); a = Mul(f, k); b = Mul(f, q);"
    f"r = Where(c, a, b); {TO_INTEGERS}",
    "where of a limit": f"{FLOATS} c = Less(f, lim); r = Where(c, f, lim); {TO_INTEGERS}",
    "where behind rounding": f"{FLOATS} m = Mul(f, k); c = GreaterOrEqual(m, half); a = Ceil(m);"
    f"r = Where(c, a, lim); {TO_INTEGERS}",
    "clip": f"{FLOATS} m = Mul(f, k); r = Clip(m, half, lim); {TO_INTEGERS}",
    "to multiples": f"{FLOATS} m = Mul(f, k); n = Div(m, sixty); o = Ceil(n); r = Mul(o, sixty);"
    f"{TO_INTEGERS}",
    "doubles": f"{DOUBLES} m = Mul(f, dk); r = Ceil(m); {TO_INTEGERS}",
    "quotient of doubles": f"{DOUBLES} m = Div(f, dt); r = Floor(m); {TO_INTEGERS}",
    "doubles from floats": f"{FLOATS} m = Mul(f, k); d = Cast<to = 11>(m); e = Div(d, dk);"
    f"r = Floor(e); {TO_INTEGERS}",
    "floats from doubles": f"{DOUBLES} m = Mul(f, dk); d = Cast<to = 1>(m); r = Floor(d);"
    f"{TO_INTEGERS}",
    "mod of floats": f"{FLOATS} m = Mod<fmod = 1>(f, sixty); r = Add(m, half); {TO_INTEGERS}",
    "absolute difference": f"{FLOATS} {EACH} d = Sub(h, w); a = Abs(d); m = Mul(a, k);"
    f"r = Add(f, m); {TO_INTEGERS}",
    "sign": f"{FLOATS} {EACH} d = Sub(h, w); g = Sign(d); r = Add(f, g); {TO_INTEGERS}",
    "condition as a number": f"{FLOATS} c = Greater(f, lim); b = Cast<to = 1>(c); r = Add(f, b);"
    f"{TO_INTEGERS}",
    "conditions": f"{FLOATS} {EACH} c = Greater(h, w); d = Greater(f, lim); a = And(c, d);"
    f"n = Not(a); r = Where(n, f, lim); {TO_INTEGERS}",
    "equality": f"{INTEGERS} c = Equal(h, w); t = Where(c, pair, s)",
    "limit of integers": f"{INTEGERS} c = Greater(s, limit); t = Where(c, limit, s)",
    "integer mod": f"{INTEGERS} t = Mod(s, pair)",
    "integer quotient": f"{INTEGERS} t = Div(s, pair)",
    "cut to a multiple": f"{INTEGERS} m = Mod(s, pair); t = Sub(s, m)",
    "padded to a multiple": f"{INTEGERS} n = Neg(s); m = Mod(n, pair); t = Add(s, m)",
    "rest to a multiple": f"{INTEGERS} m = Mod(s, pair); n = Sub(pair, m); t = Mod(n, pair)",
    "mod of a difference": f"{INTEGERS} d = Sub(h, w); m = Mod(d, pair); n = Sub(limit, h);"
    "t = Mod(n, pair)",
}

TENSORS = {
    "pad": "int64[2] p = {1,2} | s = Shape(x); t = Pad(s, p)",
    "pad cuts": "int64[2] p = {0,-1} | s = Shape(x); t = Pad(s, p)",
    "pad cuts and fills": "int64[2] p = {-1,2}, int64 v = {5} | s = Shape(x); t = Pad(s, p, v)",
    "pad edge": 'int64[2] p = {2,1} | s = Shape(x); t = Pad<mode = "edge">(s, p)',
    "pad reflect": 'int64[2] p = {1,1} | s = Shape(x); t = Pad<mode = "reflect">(s, p)',
    "slice backwards": "int64[1] a = {-1}, int64[1] b = {-9} |"
    "s = Shape(x); t = Slice(s, a, b, zero, a)",
    "scatter nd": "int64[1,1] i = {1} | s = Shape(x); t = ScatterND(s, i, one)",
    "scatter elements": "s = Shape(x); t = ScatterElements(s, zero, two)",
    "gather turned": "s = Shape(x); t = Gather(s, turned)",
    "gather nd": "int64[2,1] i = {1,0} | s = Shape(x); t = GatherND(s, i)",
    "compress": "bool[2] c = {0,1} | s = Shape(x); t = Compress<axis = 0>(s, c)",
    "places": "s = Shape(x); m = Sub(s, s); a = Concat<axis = 0>(m, s); n = NonZero(a);"
    "t = Squeeze(n, zero)",
    "cumsum": "s = Shape(x); t = CumSum(s, i0)",
    "cumsum backwards": "s = Shape(x); t = CumSum<reverse = 1, exclusive = 1>(s, i0)",
    "product": "s = Shape(x); t = ReduceProd(s)",
    "sum": "s = Shape(x); t = ReduceSum(s)",
    "largest": "s = Shape(x); t = ReduceMax(s)",
    "smallest": "s = Shape(x); t = ReduceMin(s)",
    "tile": "s = Shape(x); t = Tile(s, two)",
    "expand": "s = Shape(x); a = Unsqueeze(s, zero); b = Expand(a, turned2); t = Reshape(b, flat)",
    "transpose": "s = Shape(x); a = Concat<axis = 0>(s, pair); b = Reshape(a, square);"
    "c = Transpose<perm = [1,0]>(b); t = Reshape(c, flat)",
    "split": "s = Shape(x); a, b = Split<axis = 0>(s); t = Concat<axis = 0>(b, a, b)",
    "range": "s = Shape(x); r = Range(i0, i2, i1); t = Add(s, r)",
    "range of floats": "float a = {0.0}, float b = {0.7}, float d = {0.1} | s = Shape(x);"
    "r = Range(a, b, d); c = Shape(r); t = Add(s, c)",
}
MORE = ", int64[1] flat = {-1}, int64[2] square = {2,2}, int64[2] turned2 = {2,2}"

POINTS = [{"H": h, "W": w} for h, w in zip(SIZES, SIZES[7:] + SIZES[:7], strict=True)]


def case(text: str) -> tuple[str, str]:
    more, _, body = text.rpartition("|")
    return f"uint8[H,W] x | {CONSTANTS}{MORE}{', ' if more else ''}{more}", body


@pytest.mark.parametrize("name", [*ARITHMETIC, *TENSORS])
def test_expressions_are_what_onnxruntime_computes(name: str) -> None:
    inputs, body = case({**ARITHMETIC, **TENSORS}[name])
    found = inferred(inputs, body, 13)
    for point, right in zip(POINTS, executed(inputs, body, 13, POINTS), strict=True):
        assert [evaluate(dim, point) for dim in found] == right, (found, point)


WINDOWS = (
    "int64[1] w = {4}, int64[1] z = {0}, int64[1] i = {1}, int64[5] none = {0,0,0,0,0},"
    "int64[2] few = {0,0}, int64[4] r = {0,-1,4,3}, int64[3] u = {0,-1,3}"
)


@pytest.mark.parametrize(
    "pads",
    [
        "n = Neg(h); p = Mod(n, w)",
        "m = Mod(h, w); n = Sub(w, m); p = Mod(n, w)",
        "o = Sub(w, i); b1 = Add(h, o); d = Div(b1, w); m = Mul(d, w); p = Sub(m, h)",
    ],
)
@pytest.mark.parametrize(
    "padded",
    [
        "q = Concat<axis = 0>(few, few, p, z); l = Pad(x, q)",
        "b = Shape(x); n3 = Slice(b, z, i); c3 = Slice(b, k2, k3); f = Concat<axis = 0>(n3, p, c3);"
        "l0 = ConstantOfShape(f); l = Concat<axis = 1>(x, l0)",
    ],
)
def test_windows_with_padding_need_nothing(pads: str, padded: str) -> None:
    # What is cut off again is as long as the input, so it may be added to it.
    model = build(
        f"float[N,H,3] x | {WINDOWS}, int64[1] k2 = {{2}}, int64[1] k3 = {{3}}",
        f"s = Shape(x); h = Slice(s, i, k2); {pads}; {padded}; c = Reshape(l, r);"
        "a = Softmax(c); g = Reshape(a, u); y0 = Slice(g, z, h, i); y = Add(y0, x)",
        13,
        "float[] y",
    )
    known = truth.infer(model.ir)
    assert known.shapes["y"] == ("N", "H", 3)
    assert known.shapes["c"] == ("N", "floor(H/4 + 3/4)", 4, 3)
    assert not constraints.collect(model.ir)
    for size in (1, 3, 4, 5, 13):
        (y,) = execute(model, {"x": np.zeros((2, size, 3), np.float32)})
        assert y.shape == (2, size, 3)


def test_what_is_cut_to_a_multiple_is_one() -> None:
    model = build(
        "float[N,H,3] x | int64[1] w = {4}, int64[1] z = {0}, int64[1] i = {1}, int64[1] k2 = {2},"
        "int64[4] r = {0,-1,4,3}",
        "s = Shape(x); h = Slice(s, i, k2); m = Mod(h, w); n = Sub(h, m); c = Slice(x, z, n, i);"
        "y = Reshape(c, r)",
        13,
        "float[] y",
    )
    assert truth.infer(model.ir).shapes["y"] == ("N", "floor(H/4)", 4, 3)
    assert not constraints.collect(model.ir)


def test_halves_of_halves_that_are_added_to_the_first_half() -> None:
    model = build(
        "float[1,1,H,8] x | float[4] s = {1,1,2,2}",
        "p = MaxPool<kernel_shape = [2,2], strides = [2,2]>(x);"
        "q = MaxPool<kernel_shape = [2,2], strides = [2,2]>(p);"
        'u = Resize<mode = "nearest">(q, , s); y = Add(u, p)',
        13,
        "float[] y",
    )
    assert truth.infer(model.ir).shapes["y"] == (1, 1, "floor(H/2)", 4)
    for size in (4, 5, 9):
        (y,) = execute(model, {"x": np.zeros((1, 1, size, 8), np.float32)})
        assert y.shape == (1, 1, size // 2, 4)


@pytest.mark.parametrize("scale", [2, 4])
def test_what_is_enlarged_is_not_empty(scale: int) -> None:
    model = build(
        f"float[1,1,H,W] x | float[4] s = {{1,1,{scale},{scale}}}",
        "p = MaxPool<kernel_shape = [2,2], strides = [2,2]>(x);"
        'y = Resize<mode = "nearest">(p, , s)',
        13,
        "float[] y",
    )
    assert [each.op for each in constraints.collect(model.ir)] == ["MaxPool", "MaxPool"]


@pytest.mark.parametrize("name", ARITHMETIC)
def test_sizes_that_are_known_are_what_onnxruntime_computes(name: str) -> None:
    inputs, body = case(ARITHMETIC[name])
    points = [{"H": 50, "W": 29}, {"H": 101, "W": 150}]
    for point, right in zip(points, executed(inputs, body, 13, points), strict=True):
        known = inputs.replace("[H,W]", f"[{point['H']},{point['W']}]")
        assert list(inferred(known, body, 13)) == right


OUTPUTS = {
    "resize by scales": (11, "float[4] s = {1,1,0.3,0.7}", "y = Resize<mode = 'nearest'>(x, e, s)"),
    "resize by computed scales": (
        11,
        "float[2] o = {1,1}, int64[2] hw = {2,3}, float n = {60}",
        "s = Shape(x); d = Gather(s, hw); f = Cast<to = 1>(d); m = ReduceMin<keepdims = 0>(f);"
        "k = Div(n, m); k1 = Reshape(k, one); c = Concat<axis = 0>(o, k1, k1);"
        "y = Resize<mode = 'nearest'>(x, e, c)",
    ),
    "resize not larger": (
        18,
        "int64[2] z = {37,91}",
        "y = Resize<mode = 'nearest', axes = [2,3], keep_aspect_ratio_policy = 'not_larger'>"
        "(x, e, e, z)",
    ),
    "upsample": (9, "float[4] s = {1,1,1.7,2.3}", "y = Upsample<mode = 'nearest'>(x, s)"),
    "range of floats": (
        13,
        "int64 i2 = {2}, float a = {0}, float d = {0.3}",
        "s = Shape(x); h = Gather(s, i2); f = Cast<to = 1>(h); y = Range(a, f, d)",
    ),
    "range of doubles": (
        13,
        "int64 i2 = {2}, double a = {0.1}, double d = {0.1}",
        "s = Shape(x); h = Gather(s, i2); f = Cast<to = 11>(h); y = Range(a, f, d)",
    ),
    "a branch for large sizes": (
        13,
        "int64 i2 = {2}, int64 limit = {100}, int64[1] z = {0}, int64[1] b = {50}",
        "s = Shape(x); h = Gather(s, i2); c = Greater(h, limit);"
        "y = If(c) <then_branch = t () => (float[p,q,r,s] o) { a = Constant<value = int64[1] {2}>()"
        " o = Slice(x, z, b, a) }, else_branch = f () => (float[p,q,r,s] o2) { o2 = Identity(x) }>",
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_shapes_are_those_of_onnxruntime(name: str) -> None:
    opset, constants, body = OUTPUTS[name]
    outputs = "double[] y" if "doubles" in name else "float[] y"
    model = build(
        f"float[1,1,H,W] x | float[0] e = {{}}, int64[1] one = {{1}}, {constants}",
        body.replace("'", '"'),
        opset,
        outputs,
    )
    shape = truth.infer(model.ir).shapes["y"]
    assert shape is not None
    for point in POINTS[5::2]:
        (y,) = execute(model, {"x": np.zeros((1, 1, point["H"], point["W"]), np.float32)})
        assert tuple(evaluate(dim, point) for dim in shape) == y.shape, (shape, point)


@pytest.mark.parametrize("dtype", [10, 16])
def test_halves_are_not_claimed(dtype: int) -> None:
    # ONNX Runtime computes 50 * 0.3 with 32 bits, and gives 16; with 16 bits it is 15.
    inputs, body = case(
        f"s = Shape(x); f = Cast<to = {dtype}>(s); h = Cast<to = {dtype}>(k); m = Mul(f, h);"
        "w = Cast<to = 1>(m); r = Ceil(w); t = Cast<to = 7>(r)"
    )
    for known in (inputs, inputs.replace("[H,W]", "[50,29]")):
        assert not any(isinstance(dim, int) for dim in inferred(known, body, 13))
    exact = body.replace("Mul(f, h)", "Add(f, f)")
    assert inferred(inputs.replace("[H,W]", "[50,29]"), exact, 13) == (100, 58)


@pytest.mark.parametrize(
    ("dim", "size", "expected"),
    [
        ("ceiling(float32(0.3*H))", 50, 16),
        ("ceiling(float64(0.3*H))", 50, 15),
        ("floor(float32(H*float32(60/Min(H, W))))", 29, 59),
        ("round(float32(0.5*H))", 5, 2),
        ("where(less(100, H), 1, 2)", 101, 1),
        ("where(equal(H, W), H, 7)", 101, 7),
        ("floor(float32(sqrt(H)))", 17, 4),
    ],
)
def test_expressions_are_read_as_they_are_written(dim: str, size: int, expected: int) -> None:
    assert evaluate(dim, {"H": size, "W": 300}) == expected
    assert evaluate(str(expression(dim)), {"H": size, "W": 300}) == expected


@pytest.mark.parametrize("size", [1, 50, 100, 101])
@pytest.mark.parametrize(
    "dim",
    [
        "ceiling(float32(0.3*H))",
        "round(3*H/4)",
        "round(sqrt(H))",
        "ceiling(sqrt(H))",
        "floor(sqrt(H/3))",
        "where(less(H, 100), floor(H/2), 3*H)",
        "where(equal(H, 100), 1, 2)",
        "floor(float32(sqrt(3*H)))",
    ],
)
def test_equations_are_worked_out_at_many_sizes(dim: str, size: int) -> None:
    expected = evaluate(dim, {"H": size})
    assert expected is not None
    equation = Equation("equal", dim, expected, "node", "Reshape", "y", None, "")
    sizes = np.array([size, 7, size], dtype=object)
    for given, right in ((size, True), (sizes, [True, evaluate(dim, {"H": 7}) == expected, True])):
        found = holds(equation, {"H": given})
        assert np.array_equal(found, right)
