"""Where losses start and why: per axis, whatever the target, and with the real parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.helpers.counting import calls
from tests.helpers.graphs import build
from tests.helpers.marks import RTX, needs_rtx
from tripoint.analysis.facts import Facts
from tripoint.analysis.facts import compute as facts
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.symbols import Shape
from tripoint.table import Reason, Refusal, Target, View, ViewShape

PARSER = Target("installed", "installed", "parser 1")


def seen_as(
    model: Model,
    lost: Mapping[str, tuple[int, ...]],
    reasons: Mapping[str, Reason] | None = None,
    target: Target = PARSER,
) -> Facts:
    """Facts of a target that prints the true shapes, with -1 for symbols and on the lost axes."""
    known = truth.infer(model.ir)
    shapes: dict[str, ViewShape] = {}
    for name, shape in known.shapes.items():
        assert shape is not None, name
        shapes[name] = tuple(
            dim if isinstance(dim, int) and axis not in lost.get(name, ()) else -1
            for axis, dim in enumerate(shape)
        )
    return Facts(model, known, View(target, shapes, reasons=reasons or {}))


def origins(model: Model, **lost: tuple[int, ...]) -> tuple[str, ...]:
    return seen_as(model, lost).table.origins


# Axes

X = "float[2,3,4] x"
PASSED = [
    # body, constants, axes of e by axis of y
    ("y = Softmax(e)", "", {0: {0}, 1: {1}, 2: {2}}),
    ("y = Add(e, s)", "float[4] s = {1, 2, 3, 4}", {0: {0}, 1: {1}, 2: {2}}),
    ("y = Transpose <perm = [2, 0, 1]> (e)", "", {0: {2}, 1: {0}, 2: {1}}),
    ("y = Unsqueeze(e, s)", "int64[2] s = {0, 2}", {0: set(), 1: {0}, 2: set(), 3: {1}, 4: {2}}),
    ("y = Flatten <axis = 2> (e)", "", {0: {0, 1}, 1: {2}}),
    ("y = ReduceSum <keepdims = 0> (e, s)", "int64[1] s = {1}", {0: {0}, 1: {2}}),
    ("y = ReduceMax <axes = [-1], keepdims = 0> (e)", "", {0: {0}, 1: {1}}),
    ("y = ArgMax <axis = 0, keepdims = 0> (e)", "", {0: {1}, 1: {2}}),
    ("y = Gather <axis = 1> (e, s)", "int64 s = {2}", {0: {0}, 1: {2}}),
    ("y = Gather <axis = 0> (e, s)", "int64[1,2] s = {0, 1}", {0: set(), 1: set(), 2: {1}, 3: {2}}),
    ("y = Concat <axis = 1> (e, e)", "", {0: {0}, 1: {1}, 2: {2}}),
    ("y = Reshape(e, s)", "int64[3] s = {0, 6, -1}", {0: {0}, 1: set(), 2: {0, 1, 2}}),
    ("y = Expand(e, s)", "int64[4] s = {5, 1, 1, 4}", {0: set(), 1: {0}, 2: {1}, 3: {2}}),
    ("y = Tile(e, s)", "int64[3] s = {1, 2, 3}", {0: {0}, 1: {1}, 2: {2}}),
    ("y = Pad(e, s)", "int64[6] s = {0, 1, 2, 0, 1, 2}", {0: {0}, 1: {1}, 2: {2}}),
    (
        "y = Slice(e, s, t, u)",
        "int64[1] s = {0}, int64[1] t = {2}, int64[1] u = {-1}",
        {0: {0}, 1: {1}, 2: {2}},
    ),
    ("y, z = TopK <axis = 1> (e, s)", "int64[1] s = {2}", {0: {0}, 1: set(), 2: {2}}),
    ('y = Einsum <equation = "ijk,ijl->lki"> (e, e)', "", {0: {2}, 1: {2}, 2: {0}}),
]


@pytest.mark.parametrize(("body", "constants", "passed"), PASSED)
def test_an_axis_inherits_from_the_axes_that_feed_it_and_no_other(
    body: str, constants: str, passed: dict[int, set[int]]
) -> None:
    model = build(f"{X} | {constants}" if constants else X, f"e = Relu(x); {body}")
    for axis, feeding in passed.items():
        for other in range(3):
            expected = ("e",) if other in feeding else ("e", "y")
            assert origins(model, e=(other,), y=(axis,)) == expected, (axis, other)


@pytest.mark.parametrize(
    ("inputs", "body", "passed"),
    [
        ("float[2,3,4] x, float[4,5] w", "e = Relu(x); y = MatMul(e, w)", {0: 0, 1: 1, 2: None}),
        ("float[4,5] x, float[2,3,4] w", "e = Relu(x); y = MatMul(w, e)", {0: None, 2: 1}),
        (
            "float[4,3] x, float[5,4] w",
            "e = Relu(x); y = Gemm <transA = 1, transB = 1> (e, w)",
            {0: 1, 1: None},
        ),
        ("float[1,3,8] x, float[6,3,3] w", "e = Relu(x); y = Conv(e, w)", {0: 0, 1: None, 2: 2}),
        ("float[6,3,3] x, float[1,3,8] w", "e = Relu(x); y = Conv(w, e)", {0: None, 1: 0, 2: 2}),
    ],
)
def test_products(inputs: str, body: str, passed: dict[int, int | None]) -> None:
    model = build(inputs, body)
    rank = len(truth.infer(model.ir).shapes["e"] or ())
    for axis, feeding in passed.items():
        for other in range(rank):
            expected = ("e",) if other == feeding else ("e", "y")
            assert origins(model, e=(other,), y=(axis,)) == expected, (axis, other)


def test_split_passes_on_every_axis_that_it_has_no_sizes_for() -> None:
    model = build(
        f"{X} | int64[2] w = {{1, 2}}",
        "e = Relu(x); y, z = Split <axis = 1> (e, w)",
        outputs="float[2,1,4] y, float[2,2,4] z",
    )
    for name in ("y", "z"):
        for axis in range(3):
            assert origins(model, **{"e": (axis,), name: (axis,)}) == ("e",)
            assert origins(model, **{"e": ((axis + 1) % 3,), name: (axis,)}) == ("e", name)


IF = """y = If(c) <
  then_branch = t () => (float[4,2] a) {{ h = Neg(e) a = {then} }},
  else_branch = f () => (float[4,2] b) {{ b = Identity(w) }}>"""


def test_if_takes_over_from_its_branches() -> None:
    model = build(
        "float[2,4] x, float[4,2] w, bool c",
        f"e = Relu(x); {IF.format(then='Transpose <perm = [1, 0]> (h)')}",
        outputs="float[4,2] y",
    )
    assert origins(model, e=(0,), h=(0,), a=(1,), y=(1,)) == ("e",)
    assert origins(model, e=(0,), h=(0,), a=(1,), y=(0,)) == ("e", "y")


def test_loop_and_scan_take_over_from_what_they_are_given() -> None:
    loop = build(
        "float[2,4] x, bool c | int64 n = {3}",
        "e = Relu(x); y, z = Loop(n, c, e) <body = b (int64 i, bool d, float[2,4] p) => "
        "(bool d2, float[2,4] q, float[2,4] r) { d2 = Identity(d) q = Neg(p) r = Exp(q) }>",
        outputs="float[2,4] y, float[3,2,4] z",
    )
    assert origins(loop, e=(0,), p=(0,), q=(0,), r=(0,), y=(0,), z=(1,)) == ("e",)
    assert set(origins(loop, e=(0,), q=(1,), y=(0,))) == {"e", "q"}
    scan = build(
        "float[4] x, float[5,4] w",
        "e = Relu(x); g = Relu(w); y, z = Scan <num_scan_inputs = 1, body = b "
        "(float[4] p, float[4] s) => (float[4] q, float[4] r) { q = Add(p, s) r = Neg(s) }> (e, g)",
        outputs="float[4] y, float[5,4] z",
    )
    assert origins(scan, e=(0,), p=(0,), q=(0,), y=(0,)) == ("e",)
    assert origins(scan, g=(1,), s=(0,), r=(0,), z=(1,)) == ("g",)
    assert origins(scan, g=(0,), z=(0,)) == ("g",)
    assert set(origins(scan, g=(0,), r=(0,))) == {"g", "r"}


def test_a_name_in_two_branches_is_two_tensors() -> None:
    model = build(
        "float[2,4] x, bool c",
        """e = Relu(x); y = If(c) <
          then_branch = t () => (float[2,4] r) { h = Neg(e) r = Exp(h) },
          else_branch = f () => (float[2,4] r) { h = Neg(x) r = Exp(h) }>""",
        outputs="float[2,4] y",
    )
    names = set(truth.names(model.ir).values())
    first, second = sorted(name for name in names if name.endswith("h"))
    assert seen_as(model, {"e": (0,), second: (0,)}).table.origins == ("e",)
    assert seen_as(model, {"e": (0,), first: (0,)}).table.origins == ("e", first)


# Sizes that were read

READ = "e = Relu(x); s = Shape(e);"


@pytest.mark.parametrize(
    ("body", "fed"),
    [
        ("y = ConstantOfShape(s)", {0: 0, 1: 1, 2: 2}),
        ("g = Gather(s, one); y = Expand(w, g)", {0: 1}),
        ("g = Gather(s, at); u = Unsqueeze(g, zero); y = ConstantOfShape(u)", {0: 2}),
        ("g = Slice(s, one, two); c = Concat <axis = 0> (two, g); y = ConstantOfShape(c)", {1: 1}),
        ("p, q, r = Split <axis = 0> (s); m = Mul(r, two); y = ConstantOfShape(m)", {0: 2}),
        (
            "g = Gather(s, one); f = Cast <to = 1> (g); h = Cast <to = 7> (f); y = Tile(v, h)",
            {0: 1},
        ),
        ("c = Equal(s, m1); o = Where(c, ones, s); y = ConstantOfShape(o)", {0: 0, 1: 1, 2: 2}),
        ("z = Size(e); u = Unsqueeze(z, zero); y = ConstantOfShape(u)", {0: (0, 1, 2)}),
        ("g = Gather(s, at); y = Range(nil, g, unit)", {0: 2}),
        ("p = Shape <start = 1> (e); y = ConstantOfShape(p)", {0: 1, 1: 2}),
    ],
)
def test_a_loss_comes_through_the_element_that_was_read(
    body: str, fed: dict[int, int | tuple[int, ...]]
) -> None:
    model = build(
        f"{X}, float[1] w, float[5] v | int64[1] one = {{1}}, int64[1] two = {{2}}, "
        "int64[1] zero = {0}, int64 at = {2}, int64[3] m1 = {-1, -1, -1}, "
        "int64[3] ones = {1, 1, 1}, int64 nil = {0}, int64 unit = {1}",
        READ + body,
        opset=15,
    )
    for axis, sources in fed.items():
        feeding = (sources,) if isinstance(sources, int) else sources
        for other in range(3):
            expected = ("e",) if other in feeding else ("e", "y")
            assert origins(model, e=(other,), y=(axis,)) == expected, (axis, other)


def test_chain_names_each_element_on_the_way() -> None:
    model = build(
        f"{X} | int64[1] one = {{1}}, int64[1] two = {{2}}",
        READ + "g = Slice(s, one, two); y = ConstantOfShape(g); z = Transpose <perm = [0]> (y)",
        outputs="z",
    )
    known = seen_as(model, {"e": (1,), "y": (0,), "z": (0,)})
    chain = known.chain("z")
    assert chain.origin == "e"
    assert [(step.tensor, step.reason) for step in chain.back[:-1]] == [
        ("z", "inherits the unknown dims of `y`"),
        ("y", "axis 0 has the size in element 0 of `g`"),
        ("g", "element 0 comes from element 1 of `s`"),
        ("s", "reads axis 1 of `e`, which is unknown"),
    ]
    assert chain.reaches == ("z",)
    assert known.table.chains[0].reaches == ("z",)


def test_an_output_is_reached_from_all_origins_that_feed_it() -> None:
    model = build(
        "float[2,3] x, float[4,3] w", "e = Relu(x); f = Relu(w); y = Concat <axis = 0> (e, f)"
    )
    table = seen_as(model, {"e": (0,), "f": (0,), "y": (0,)}).table
    assert [(chain.tensor, chain.reaches) for chain in table.chains] == [
        ("e", ("y",)),
        ("f", ("y",)),
    ]


# What an importer says, and what a log does not


def test_an_importer_names_what_it_took_over_from() -> None:
    model = build("float[2,3] x, float[2,3] w", "e = Relu(x); y = Add(e, w)")
    lost = {"e": (0,), "y": (0, 1)}
    said = {"e": Reason("it says so", ()), "y": Reason("one unknown dim spoils all", ("e",))}
    assert seen_as(model, lost, said).table.origins == ("e",)
    said["y"] = Reason("of its own accord", ("w",))
    known = seen_as(model, lost, said)
    assert known.table.origins == ("e", "y")
    assert known.chain("y").back[0].reason == "of its own accord"


@pytest.mark.parametrize(("version", "expected"), [("7.2", ("e", "y")), ("8.0", ("e",))])
def test_an_operand_starts_a_loss_only_where_none_is_evaluated(
    version: str, expected: tuple[str, ...]
) -> None:
    model = build("float[2,3] x", "e = Relu(x); s = Shape(e); y = ConstantOfShape(s)")
    target = Target("a.log", "log", version)
    assert seen_as(model, {"e": (0,), "y": (0,)}, target=target).table.origins == expected


@pytest.mark.parametrize(
    "body",
    [
        "y = Transpose(e)",
        "y = Gather(e, i)",
        "y = Flatten(e)",
        "i2 = Neg(i); y = Reshape(e, i2)",
        "y = Reshape(e, i)",
    ],
)
def test_without_attributes_or_constants_any_lost_axis_will_do(body: str) -> None:
    model = build("float[2,3,4] x, int64[3] i", f"e = Relu(x); {body}", outputs="float[a,b,c] y")
    known = truth.infer(model.ir)
    shapes: dict[str, ViewShape] = {"x": (2, 3, 4), "e": (2, -1, 4), "i": (3,), "y": (-1, -1, -1)}
    fixed = {"y": (0, 1, 2)}
    table = Facts(
        model,
        truth.Truth(
            {**known.shapes, "y": ("a", "b", "c")},
            known.dtypes,
            *(known.symbols, known.data_dependent, ()),
            fixed=fixed,
        ),
        View(Target("a.log", "log", "8.6"), shapes),
    ).table
    assert table.origins[0] == "e"
    assert len(table.chains[-1].back) >= 1


# The real parser. Each graph is the smallest that loses a dimension as a model of the zoo does.


@needs_rtx
@pytest.mark.parametrize(
    ("inputs", "body", "true", "lost", "said"),
    [
        pytest.param(
            "float[N,S,768] x, int64[1,512] k, float[512,768] p",
            "n = Shape <start = 0, end = 1> (x); s = Shape <start = 1, end = 2> (x);"
            "q = Slice(k, zero, s, one); d = Concat <axis = 0> (n, s); r = Expand(q, d);"
            "g = Gather <axis = 0> (p, r); e = Add(x, g);"
            "c = Concat <axis = 0> (n, s, rest); y = Reshape(e, c); t = Neg(y)",
            None,
            {"y": (2,), "t": (2,)},
            "but axis 1 of it is made by Expand `r` from axis 1 of `q` and element 1 of `d`",
            id="bert: an Expand of what a size has cut",
        ),
        pytest.param(
            "float[N,196,256] x",
            "f = Flatten <axis = 2> (x); g = Relu(f); s = Shape(x); e = Reshape(g, s);"
            "n = Shape <start = 0, end = 1> (x); c = Concat <axis = 0> (n, heads);"
            "y = Reshape(e, c)",
            None,
            {"y": (3,)},
            "but axis 0 of it is made by Reshape `e` from element 0 of `s` and axis 0 of `g`",
            id="levit: an axis that was merged and cut out again",
        ),
        pytest.param(
            "float[N,32,H,W] x",
            "v = Reshape(x, flat); e = Transpose <perm = [0, 2, 1]> (v); s = Shape(x);"
            "n = Gather(s, zero); h = Gather(s, two); w = Gather(s, three);"
            "c = Concat <axis = 0> (n, h, w, m1); y = Reshape(e, c)",
            None,
            {"y": (3,)},
            "but axis 1 of it is made by Reshape `v` from axis 0 of `x` and axis 2 of `x`",
            id="segformer: height times width",
        ),
        pytest.param(
            "float[S] x",
            "n = Shape(x); u = Unsqueeze(x, zero); y = Slice(u, zero, one, one)",
            None,
            {"y": (1,)},
            "its bounds are constants, but axis 1 of `u` is known only at run time",
            id="llama: the first of a row that may be empty",
        ),
        pytest.param(
            "float[N,6] x",
            "n = Shape <start = 0, end = 1> (x); m = Mul(n, two); d = Div(m, n);"
            "y = ConstantOfShape(d)",
            {"y": (2,)},
            {"y": (0,)},
            "is computed by Div `d` from axis 0 of `x`, known only at run time",
            id="division by a size",
        ),
        pytest.param(
            "float[N,6] x",
            "n = Shape <start = 0, end = 1> (x); g = Greater(n, zero); d = Where(g, two, three);"
            "y = ConstantOfShape(d)",
            {"y": (2,)},
            {"y": (0,)},
            "is computed by Where `d` from axis 0 of `x`, known only at run time",
            id="comparison of a size",
        ),
        pytest.param(
            "float[N,6] x",
            "n = Shape <start = 1, end = 2> (x); d = CumSum(n, nil); y = ConstantOfShape(d)",
            {"y": (6,)},
            {"y": (0,)},
            "passes through CumSum `d`, with which",
            id="an operator that computes no sizes",
        ),
    ],
)
def test_why_the_real_parser_loses_it(
    inputs: str,
    body: str,
    true: dict[str, Shape] | None,
    lost: dict[str, tuple[int, ...]],
    said: str,
) -> None:
    model = build(
        f"{inputs} | int64[2] rest = {{-1, 64}}, int64[3] heads = {{196, 4, -1}}, "
        "int64[3] flat = {0, 32, -1}, int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2},"
        "int64[1] three = {3}, int64[1] m1 = {-1}, int64 nil = {0}",
        body,
        opset=15,
        outputs="float[] y",
    )
    known = facts(model, target="installed")
    shapes = {**known.truth.shapes, **(true or {})}
    known = replace(known, truth=replace(known.truth, shapes=shapes))
    assert {each.name: each.lost for each in known.table.tensors if each.lost} == lost
    (chain,) = known.table.chains
    assert chain.origin == "y"
    assert said in chain.back[0].reason, chain.back[0].reason
    assert f"{RTX} 1.6.1.120" in chain.back[0].reason


@needs_rtx
def test_what_cancels_is_not_lost() -> None:
    """The other side of the explanations: equal expressions do cancel."""
    constants = "int64[2] rest = {-1, 64}, int64[1] two = {2}"
    for body in (
        "n = Shape <start = 0, end = 2> (x); c = Concat <axis = 0> (n, rest); y = Reshape(x, c)",
        "n = Shape <start = 0, end = 2> (q); c = Concat <axis = 0> (n, rest); y = Reshape(x, c)",
        "a = Shape <start = 0, end = 2> (x); m = Mul(a, two); n = Div(m, two);"
        "c = Concat <axis = 0> (n, rest); y = Reshape(x, c)",
    ):
        model = build(
            f"float[N,S,768] x, float[N,S] q | {constants}", body, opset=15, outputs="float[] y"
        )
        assert facts(model, target="installed").table.summary.lost_dims == 0, body


# Tensors that lost nothing


def test_a_symbol_is_followed_to_the_input_that_gives_it() -> None:
    model = build(
        "float[N,S] x, float[S,4] w | int64[1] first = {0}",
        "a = Relu(x); b = MatMul(a, w); t = Shape(w); g = Gather(t, first);"
        "z = ConstantOfShape(g); y = Concat <axis = 0> (a, a)",
        outputs="b, z, y",
    )
    known = seen_as(model, {})
    chain = known.chain("b")
    assert (chain.origin, chain.reaches) == (None, ())
    assert [(step.tensor, step.reason) for step in chain.back] == [
        ("b", "axis 0 is N"),
        ("x", "is given by the caller: axis 0 is N"),
    ]
    assert [(step.tensor, step.reason) for step in known.chain("z").back] == [
        ("z", "axis 0 is S"),
        ("g", "holds the size in element 0"),
        ("t", "holds the size in element 0"),
        ("w", "is given by the caller: axis 0 is S"),
    ]
    assert [step.reason for step in known.chain("y").back] == [
        "axis 0 is 2*N",
        "axis 0 is N",
        "is given by the caller: axis 0 is N",
        "axis 1 is S",
        "is given by the caller: axis 1 is S",
    ]


def test_a_size_that_values_decide_names_the_node() -> None:
    model = build("float[4,5] x", "a = NonZero(x); y = Relu(a)", opset=14)
    chain = seen_as(model, {}).chain("y")
    assert chain.origin is None
    (symbol,) = truth.infer(model.ir).data_dependent
    assert [(step.tensor, step.op, step.reason) for step in chain.back] == [
        ("y", "Relu", f"axis 1 is {symbol}"),
        ("a", "NonZero", f"decides {symbol} at run time, from values"),
    ]


def test_a_shape_tensor_names_the_nearest_node_that_needs_it() -> None:
    model = build(
        "float[2,3] x | int64[1] one = {1}",
        "s = Shape(x); g = Gather(s, one); y = ConstantOfShape(g)",
    )
    known = seen_as(model, {})
    needed = "is a shape tensor: ConstantOfShape `y` needs it as a size, in input 0"
    assert [step.reason for step in known.chain("g").back] == [needed]
    assert [step.reason for step in known.chain("s").back] == [needed]
    assert known.chain("x").back == ()


def test_what_is_not_reached_says_what_stopped_the_parser() -> None:
    model = build("float[2,3] x", "a = NonZero(x); y = Relu(a)", opset=14)
    target = View(PARSER, {"x": (2, 3)}, refusals=(Refusal("a", "NonZero", "no importer"),))
    known = Facts(model, truth.infer(model.ir), target)
    first = known.chain("y").back[0]
    assert first.reason == "is not reached, NonZero `a` stopped the parser: no importer"


# Size and shape of the graph


def test_work_is_linear_in_the_graph() -> None:
    def work(length: int) -> int:
        links = "".join(f"e{i + 1} = Relu(e{i});" for i in range(length))
        read = "".join(f"s{i + 1} = Add(s{i}, c); r{i} = Expand(x, s{i});" for i in range(length))
        model = build(
            "float[2,3] x, int64[2] c", f"s0 = Shape(x); e0 = Neg(x); {links} {read} y = Neg(e0)"
        )
        lost = {f"{kind}{i}": (0,) for i in range(length) for kind in "er"}
        known = seen_as(model, lost)

        def explain() -> None:
            assert len(known.table.chains) == 1 + length
            assert len(known.chain(f"e{length - 1}").back) == length

        return calls(explain)

    # What is looked at in a chain of sizes has a limit, which these reach.
    assert work(400) < 4 * 1.5 * work(100)
