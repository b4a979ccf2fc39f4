from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tripoint
from tests.helpers.graphs import build, to_bytes
from tripoint.api import facts
from tripoint.errors import UsageError
from tripoint.report import chains, tables
from tripoint.symbols import Shape, equal, evaluate, symbols_of
from tripoint.table import TensorFacts, ViewShape

EXPAND_OF_TORCHSCRIPT = """
sizes = Shape(x)
ones = ConstantOfShape<value = int64[1] {1}>(rank)
minus = Mul(ones, negative)
same = Equal(sizes, minus)
wanted = Where(same, ones, sizes)
e = Expand(g, wanted)
y = Mul(x, e)
"""

TRUE_SHAPES: list[tuple[str, str, Shape | None]] = [
    ("float[N,3,H,8] x, float[5,3,3,3] w_k", "y = Conv(x, w_k)", ("N", 5, "H - 2", 6)),
    (
        "float[N,3,H,W] x, float[N,3,1,1] g | int64[1] rank = {4}, int64 negative = {-1}",
        *(EXPAND_OF_TORCHSCRIPT, ("N", 3, "H", "W")),
    ),
    (
        "float[2,3,5,5] x, float[3,1,1] g | int64[1] rank = {4}, int64 negative = {-1}",
        *(EXPAND_OF_TORCHSCRIPT, (2, 3, 5, 5)),
    ),
    (
        "float[N,3,4] x | int64[3] s = {-1, 1, 4}, int64[1] rank = {3}, int64 negative = {-1}",
        "ones = ConstantOfShape<value = int64[1] {1}>(rank); minus = Mul(ones, negative);"
        "same = Equal(s, minus); wanted = Where(same, ones, s); y = Expand(x, wanted)",
        ("N", 3, 4),
    ),
    ("float[N,4] x | int64[1] m = {-1}", "y = Reshape(x, m)", ("4*N",)),
    ("float[N,4] x | int64[2] m = {0,-1}", "y = Reshape(x, m)", ("N", 4)),
    ("float[N,4] x | int64[2] m = {2,-1}", "y = Reshape(x, m)", (2, "2*N")),
    ("float[N,M] x, float[N,K] z", "y = Concat<axis = 1>(x, z)", ("N", "K + M")),
    ("float[N,4] x", "s = Shape(x); y = ConstantOfShape(s)", ("N", 4)),
    (
        "float[N,4] x | int64 i = {0}, int64[1] a = {0}, int64[1] k = {2}",
        "s = Shape(x); n = Gather(s, i); u = Unsqueeze(n, a); t = Concat<axis = 0>(k, u, k);"
        "r = Reshape(x, t); y = Transpose<perm = [1,0,2]>(r)",
        ("N", 2, 2),
    ),
    (
        "float[1,1,H] x | float[0] r = {}, float[3] q = {1.,1.,2.}",
        "y = Resize(x, r, q)",
        (1, 1, "2*H"),
    ),
    ("float[2,3] x, int64[K] s", "y = Reshape(x, s)", None),
]


@pytest.mark.parametrize(("inputs", "body", "expected"), TRUE_SHAPES, ids=lambda v: str(v)[:40])
def test_true_shapes(inputs: str, body: str, expected: Shape | None) -> None:
    model = build(inputs, body, outputs="float[] y")
    before = to_bytes(model)
    found = tripoint.shapes(model, target="7.1").by_name["y"].shape
    assert to_bytes(model) == before
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert len(found) == len(expected)
    assert all(equal(a, b) for a, b in zip(found, expected, strict=True))


def test_exporters_example_sizes_are_not_believed() -> None:
    model = build("float[N,4] x", "a = Relu(x); y = Neg(a)")
    (middle,) = next(iter(model.ir.graph)).outputs
    middle.shape = ir.Shape([1, 4])
    assert tripoint.shapes(model, target="7.1").by_name["a"].shape == ("N", 4)


# Arithmetic on symbols

Expression = tuple[str, Callable[[dict[str, int]], int]]


def leaves() -> st.SearchStrategy[Expression]:
    names = st.sampled_from(["N", "M", "seq_len"])
    return names.map(lambda name: (name, lambda b: b[name])) | st.integers(0, 9).map(
        lambda value: (str(value), lambda _: value)
    )


def combined(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    binary: dict[str, Callable[[int, int], int]] = {
        "({} + {})": lambda a, b: a + b,
        "({} - {})": lambda a, b: a - b,
        "({} * {})": lambda a, b: a * b,
        "max({}, {})": max,
        "min({}, {})": min,
    }
    by_constant: dict[str, Callable[[int, int], int]] = {
        "floor({} / {})": lambda a, b: a // b,
        "({} // {})": lambda a, b: a // b,
        "({} % {})": lambda a, b: a % b,
    }

    def apply(form: tuple[str, Callable[[int, int], int]], a: Expression, b: Expression):
        return form[0].format(a[0], b[0]), lambda bound: form[1](a[1](bound), b[1](bound))

    constants = st.integers(1, 5).map(lambda value: (str(value), lambda _: value))
    return st.builds(apply, st.sampled_from([*binary.items()]), inner, inner) | st.builds(
        apply, st.sampled_from([*by_constant.items()]), inner, constants
    )


expressions = st.recursive(leaves(), combined, max_leaves=4)
bindings = st.fixed_dictionaries(dict.fromkeys(["N", "M", "seq_len"], st.integers(1, 40)))


@settings(max_examples=150, deadline=None)
@given(expressions, bindings)
def test_evaluate_is_python_arithmetic(dim: Expression, bound: dict[str, int]) -> None:
    text, python = dim
    assert evaluate(text, bound) == python(bound)
    assert symbols_of(text) <= bound.keys()
    if symbols_of(text):
        assert evaluate(text, {}) is None


@settings(max_examples=60, deadline=None)
@given(expressions, expressions, st.lists(bindings, min_size=3, max_size=3))
def test_equal_never_contradicts_the_sizes(
    a: Expression, b: Expression, points: list[dict[str, int]]
) -> None:
    decided = equal(a[0], b[0])
    assume(decided is not None)
    if decided:
        assert all(a[1](bound) == b[1](bound) for bound in points)
    else:
        assert a[0] != b[0]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (3, 3, True),
        (3, 4, False),
        ("N", "N", True),
        ("N + N", "2*N", True),
        ("(N + 1)*(N - 1)", "N**2 - 1", True),
        ("floor(2*N/2)", "N", True),
        ("H // 2", "floor(H/2)", True),
        ("N - N", 0, True),
        ("max(N, 1)", "N", True),
        ("N", "N + 1", False),
        ("2*N", "N", False),
        ("2*N", 1, False),
        ("N", "M", False),
        ("N", 3, False),
        ("floor(N/2)", "N", False),
    ],
)
def test_equal(a: int | str, b: int | str, expected: bool) -> None:
    assert equal(a, b) is expected
    assert equal(b, a) is expected


def test_ceiling_of_a_pooled_size_is_evaluated() -> None:
    model = build(
        "float[1,3,H,8] x",
        "y = MaxPool<kernel_shape = [3,3], strides = [2,2], ceil_mode = 1>(x)",
        outputs="float[] y",
    )
    shape = tripoint.shapes(model, target="7.1").by_name["y"].shape
    assert shape is not None
    assert [tuple(evaluate(dim, {"H": h}) for dim in shape) for h in (3, 7, 8)] == [
        *((1, 3, 1, 4), (1, 3, 3, 4), (1, 3, 4, 4))
    ]


# Roles


def test_roles() -> None:
    model = build(
        "float[N,4] x, int64[2] k | int64[1] one = {1}, int64[1] rest = {-1}",
        "s = Shape(x); g = Gather(s, one); c = Concat<axis = 0>(g, rest); r = Reshape(x, c);"
        "y = Cast<to = 1>(g); z = Expand(y, k); unread = Neg(s)",
        outputs="r, y, z",
    )
    roles = {f.name: f.role for f in tripoint.shapes(model, target="7.1").tensors}
    assert roles == {
        "x": "execution",
        "k": "shape",
        "s": "both",
        "g": "both",
        "c": "shape",
        "r": "execution",
        "y": "execution",
        "z": "execution",
        "unread": "execution",
    }


def test_shape_tensor_that_is_an_output_is_both() -> None:
    model = build("float[N,4] x", "s = Shape(x); y = Expand(x, s)", outputs="s, y")
    roles = {f.name: f.role for f in tripoint.shapes(model, target="7.1").tensors}
    assert roles == {"x": "execution", "s": "both", "y": "execution"}


# Lost dims


@pytest.mark.parametrize(
    ("shape", "seen", "lost", "differs"),
    [
        ((2, 3), (2, 3), (), False),
        ((2, 3), (-1, 3), (0,), False),
        (("N", 3, 4), (-1, -1, -1), (1, 2), False),
        (("N", 3), (-1, 3), (), False),
        (("N", 3), (5, 3), (), False),
        ((2, 3), (2, 4), (), True),
        ((2, 3), (-1, 4), (), True),  # another tensor, as of an LSTM with its layout ignored
        ((2, 3), (2, 3, 1), (), True),
        ((), (), (), False),
        (None, (-1,), (), False),
        ((2,), None, (), False),
    ],
)
def test_lost_and_differs(
    shape: Shape | None, seen: ViewShape | None, lost: tuple[int, ...], differs: bool
) -> None:
    tensor = TensorFacts("x", "Relu", "n", "float", shape, seen, "execution", None)
    assert (tensor.lost, tensor.differs) == (lost, differs)


def test_one_size_where_the_true_one_follows_an_input_is_another_shape() -> None:
    facts = TensorFacts(
        "y", "LSTM", "n", "float", ("N", "T", 1, 3), (-1, 1, -1, 3), None, None, varies=(0, 1)
    )
    assert (facts.lost, facts.differs) == ((), True)


def test_summary_counts() -> None:
    table = tripoint.shapes(
        build(
            "float[N,3] x, float[2,3] z, int64[K] s",
            "n = NonZero(x); a = Relu(n); t = Shape(z); e = Expand(z, t); u = Reshape(z, s);"
            "y = Neg(u)",
            opset=14,
            outputs="a, e, float[] y",
        ),
        target="7.1",
    )
    summary = table.summary
    assert table.symbols == {"N", "K"}
    assert table.by_name["n"].shape == (2, *table.data_dependent)
    assert summary.tensors == 9
    assert summary.dynamic_dims == 2  # x, s
    assert summary.data_dependent_dims == 2  # n, a
    assert (summary.lost_tensors, summary.lost_dims) == (1, 2)  # e
    assert summary.unresolved_dims == 2  # u, y: not even their rank is known
    assert summary.not_seen == 2
    assert summary.origins == table.origins == ("e",)
    assert table.inputs == ("x", "z", "s")
    assert table.outputs == ("a", "e", "y")


def test_data_dependent_sizes_are_not_lost() -> None:
    table = tripoint.shapes(build("float[4,5] x", "y = NonZero(x)"), target="7.1")
    (symbol,) = table.data_dependent
    y = table.by_name["y"]
    assert (y.shape, y.tensorrt, y.lost) == ((2, symbol), (2, -1), ())
    assert (table.summary.data_dependent_dims, table.summary.lost_dims) == (1, 0)
    assert table.chains == ()


# Origins and chains


@pytest.mark.parametrize(
    ("inputs", "body", "origins", "reaches"),
    [
        ("float[2,3] x", "y = Relu(x)", "", ()),
        ("float[2,3] x", "s = Shape(x); e = Expand(x, s); a = Relu(e); y = Neg(a)", "e", ("y",)),
        # The other operand tells the sizes again.
        ("float[2,3] x, float[2,3] z", "s = Shape(x); e = Expand(x, s); y = Add(e, z)", "e", ()),
        (
            "float[2,3] x, float[4,3] z",
            "s = Shape(x); e = Expand(x, s); t = Shape(z); f = Expand(z, t);"
            "y = Concat<axis = 0>(e, f)",
            *("ef", ("y",)),
        ),
        # Two losses in a row: the second Expand would lose its dims without the first as well.
        (
            "float[2,3] x",
            "s = Shape(x); e = Expand(x, s); t = Shape(x); y = Expand(e, t)",
            *("ey", ("y",)),
        ),
        # Only the first starts a loss: the Transpose and the Softmax take it over.
        (
            "float[2,3] x",
            "s = Shape(x); e = Expand(x, s); t = Transpose(e); y = Softmax<axis = 1>(t)",
            *("e", ("y",)),
        ),
    ],
)
def test_origins_are_minimal(
    inputs: str, body: str, origins: str, reaches: tuple[str, ...]
) -> None:
    known = facts(build(inputs, body, opset=11), target="7.1")
    table = known.table
    assert table.origins == tuple(origins)
    for chain in table.chains:
        assert chain.origin == chain.tensor == chain.back[0].tensor
        assert chain.reaches == reaches
    for each in table.tensors:
        assert (known.chain(each.name).origin in table.origins) == bool(each.lost)


def test_chain_goes_from_the_tensor_to_what_was_measured() -> None:
    model = build(
        "float[2,3] x | int64[1] one = {1}, int64[1] rest = {2}",
        "s = Shape(x); g = Gather(s, one); c = Concat<axis = 0>(rest, g); r = Reshape(x, c);"
        "a = Relu(r); y = Neg(a); z = Neg(r)",
        opset=11,
        outputs="y, z",
    )
    chain = tripoint.why(model, "y", target="7.1")
    assert [(step.tensor, step.op) for step in chain.back] == [
        *(("y", "Neg"), ("a", "Relu"), ("r", "Reshape")),
        *(("c", "Concat"), ("g", "Gather"), ("s", "Shape")),
    ]
    assert chain.origin == "r"
    assert set(chain.reaches) == {"y", "z"}
    assert chain.back[0].reason == "inherits the unknown dims of `a`"
    assert "`c`" in chain.back[2].reason
    assert chain.back[-1].reason == "reads the sizes of `x` (2, 3)"


@pytest.mark.parametrize("tensor", ["x", "y"])
def test_why_of_a_tensor_that_lost_nothing(tensor: str) -> None:
    chain = tripoint.why(build("float[2,3] x", "y = Relu(x)"), tensor, target="7.1")
    assert (chain.tensor, chain.origin, chain.back, chain.reaches) == (tensor, None, (), ())


def test_unknown_tensor_suggests_near_ones() -> None:
    model = build("float[2,3] hidden", "y = Relu(hidden)")
    with pytest.raises(UsageError, match=r"no tensor named 'hiden'[\s\S]*hidden"):
        tripoint.why(model, "hiden", target="7.1")
    with pytest.raises(UsageError, match=r"no tensor named 'qqqq'[\s\S]*tripoint shapes"):
        tripoint.why(model, "qqqq", target="7.1")


def test_unknown_target_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"unknown target '6\.0'[\s\S]*installed, 7\.0"):
        tripoint.shapes(build("float[2] x", "y = Relu(x)"), target="6.0")


@pytest.mark.parametrize(
    ("asked", "meant"), [("7.1.3.4", "7.1"), ("8.6.1", "8.6"), ("10.1.0", "10.1")]
)
def test_patch_release_is_its_minor_version(asked: str, meant: str) -> None:
    table = tripoint.shapes(build("float[2] x", "y = Relu(x)"), target=asked)
    assert table.target.name == meant


@pytest.mark.parametrize("target", ["8", "10", "8.1", "10.10", "7.1x", ""])
def test_versions_without_a_model_are_not_guessed(target: str) -> None:
    with pytest.raises(UsageError, match=r"unknown target"):
        tripoint.shapes(build("float[2] x", "y = Relu(x)"), target=target)


def test_source_lines_of_the_export_are_in_the_chain() -> None:
    model = build("float[2,3] x", "s = Shape(x); y = Expand(x, s)")
    for line, node in enumerate(model.ir.graph, start=7):
        node.metadata_props["pkg.torch.onnx.stack_trace"] = (
            f'File "/home/me/net.py", line {line}, in forward\n    return x.expand(s)'
        )
    chain = tripoint.why(model, "y", target="7.1")
    assert [str(step.source) for step in chain.back] == ["/home/me/net.py:8", "/home/me/net.py:7"]


def test_a_long_chain_goes_all_the_way_back() -> None:
    length = 100
    links = "".join(f"e{i + 1} = Relu(e{i});" for i in range(length))
    model = build(
        "float[2,3] x", f"s = Shape(x); e0 = Expand(x, s); {links} y = Neg(e{length})", opset=11
    )
    chain = tripoint.why(model, "y", target="7.1")
    assert chain.origin == "e0"
    assert len(chain.back) == length + 3
    shown = chains.chain(chain)
    assert len(shown) < 30
    assert any(f"{length + 3 - 24} more" in line for line in shown)


def test_inputs_that_do_not_fit_are_reported() -> None:
    model = build(
        "float[2,3] x, float[4,5] z", "a = MatMul(x, z); y = Relu(a)", outputs="float[] y"
    )
    table = tripoint.shapes(model, target="7.1")
    (sentence,) = table.contradictions
    assert "MatMul" in sentence
    assert any(line.startswith("contradiction: ") for line in tables.summary(table))
