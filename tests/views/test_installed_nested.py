"""The real parser's view of nested graphs and local functions, joined to the model's names."""

from __future__ import annotations

import textwrap

import onnx_ir as ir
import pytest

from tests.helpers.marks import RTX, needs_rtx
from tripoint.model import Model, as_file
from tripoint.shape_inference import truth
from tripoint.trt import process
from tripoint.views import installed, layers, scopes

HEADER = '<ir_version: 8, opset_import: ["": 17, "l": 1]>\n'

IF = """
g (float[N,3] x, bool c) => (float[K,L] y) {
  a = Relu(x)
  [cond] y = If(c) <
    then_branch = t () => (float[N,3] r) { h = Neg(a) r = Add(h, a) },
    else_branch = e () => (float[3,N] r) { h = Transpose <perm = [1, 0]> (a) k = Exp(h) r = Neg(k) }
  >
}"""
LOOP = """
g (float[N,3] x) => (float[N,3] y, float[4,3,N] z) {
  n = Constant <value_int = 4> ()
  c = Constant <value = bool {1}> ()
  [loop] y, z = Loop(n, c, x) <body = b (int64 i, bool d, float[N,3] p)
    => (bool d2, float[N,3] q, float[3,N] o)
    { d2 = Identity(d) q = Add(p, p) h = Mul(q, x) o = Transpose <perm = [1, 0]> (h) }>
}"""
SCAN = """
g (float[3] x, float[N,3] w) => (float[3] y, float[N,1,3] z) {
  axes = Constant <value_ints = [0]> ()
  y, z = Scan <num_scan_inputs = 1, body = b (float[3] p, float[3] s)
    => (float[3] q, float[1,3] r) { q = Add(p, s) r = Unsqueeze(s, axes) }> (x, w)
}"""
FUNCTIONS = """
g (float[N,3] x) => (float[3,N] y) {
  a = l.f (x)
  [second] b = l.f (a)
  y = Transpose <perm = [1, 0]> (b)
}
<domain: "l", opset_import: ["": 17, "l": 1]>
f (p) => (r) { t = Relu(p) [inner] u = l.h (t) r = Transpose <perm = [1, 0]> (u) }
<domain: "l", opset_import: ["": 17, "l": 1]>
h (p) => (r) { t = Transpose <perm = [1, 0]> (p) r = Neg(t) }"""


def model_of(text: str) -> Model:
    return Model(ir.from_onnx_text(HEADER + textwrap.dedent(text)))


def complete(model: Model) -> dict[str, tuple[int, ...]]:
    """The view, which must reach every tensor and agree with the true shape of each."""
    view = installed.view(model)
    assert view.refusals == ()
    flat = truth.inlined(model.ir)
    true = truth.infer(flat).shapes
    assert set(view.shapes) == set(truth.names(flat).values())
    for name, seen in view.shapes.items():
        shape = true[name]
        if shape is not None:
            assert len(shape) == len(seen), name
            assert all(b in (-1, a) for a, b in zip(shape, seen, strict=True)), name
    return dict(view.shapes)


@needs_rtx
def test_two_branches_with_the_same_names() -> None:
    model = model_of(IF)
    shapes = complete(model)
    assert shapes["cond/then_branch/h"] == (-1, 3)
    assert shapes["cond/else_branch/h"] == (3, -1)
    assert shapes["cond/then_branch/r"] == (-1, 3)
    assert shapes["cond/else_branch/r"] == shapes["k"] == (3, -1)


@needs_rtx
@pytest.mark.parametrize(("condition", "branch"), [(1, "then"), (0, "else")])
def test_only_the_branch_that_a_constant_chooses_is_seen(condition: int, branch: str) -> None:
    text = f"""
    g (float[N,3] x) => (float[K,3] y) {{
      c = Constant <value = bool {{{condition}}}> ()
      [cond] y = If(c) <
        then_branch = t () => (float[N,3] r) {{ h = Neg(x) r = Add(h, x) }},
        else_branch = e () => (float[N,3] r) {{ h = Neg(x) k = Exp(h) r = Neg(k) }}
      >
    }}"""
    view = installed.view(model_of(text))
    nested = {name for name in view.shapes if "_branch/" in name}
    assert nested == {f"cond/{branch}_branch/h", f"cond/{branch}_branch/r"}


@needs_rtx
def test_branches_that_cannot_be_told_apart_are_not_seen() -> None:
    view = installed.view(
        model_of("""
        g (float[N,3] x) => (float[N,3] y) {
          c = Constant <value = bool {1}> ()
          [cond] y = If(c) <
            then_branch = t () => (float[N,3] r) { r = Neg(x) },
            else_branch = e () => (float[N,3] r) { r = Neg(x) }
          >
        }""")
    )
    assert view.refusals == ()
    assert set(view.shapes) == {"x", "c", "y"}


@needs_rtx
def test_loop_and_scan_with_their_body_inputs() -> None:
    shapes = complete(model_of(LOOP))
    assert (shapes["p"], shapes["i"], shapes["d"]) == ((-1, 3), (), ())
    assert (shapes["o"], shapes["z"]) == ((3, -1), (4, 3, -1))
    assert complete(model_of(SCAN))["s"] == (3,)


@needs_rtx
def test_a_loop_in_a_branch_of_an_if() -> None:
    shapes = complete(
        model_of("""
        g (float[N,3] x, bool c) => (float[K,N,3] y) {
          n = Constant <value_int = 4> ()
          t = Constant <value = bool {1}> ()
          one = Constant <value_ints = [0]> ()
          [cond] y = If(c) <
            then_branch = a () => (float[4,N,3] r) {
              [loop] r = Loop(n, t) <body = b (int64 i, bool d) => (bool d2, float[N,3] o)
                { d2 = Identity(d) o = Neg(x) }> },
            else_branch = e () => (float[1,N,3] r) { o = Exp(x) r = Unsqueeze(o, one) }
          >
        }""")
    )
    assert shapes["cond/then_branch/r"] == (4, -1, 3)
    assert shapes["cond/else_branch/r"] == (1, -1, 3)


@needs_rtx
def test_functions_that_are_called_twice_and_call_each_other() -> None:
    shapes = complete(model_of(FUNCTIONS))
    assert shapes["a"] == shapes["b"] == (-1, 3)
    assert sorted(shapes.values()).count((3, -1)) == 5


@needs_rtx
@pytest.mark.parametrize(
    ("text", "node", "where", "reached", "unreached"),
    [
        (
            IF.replace("k = Exp(h)", "[bad] k = NonZero(h)").replace("r = Neg(k)", "r = Neg(h)"),
            *("bad", " (inside If `cond`): "),
            {"a", "cond/then_branch/h", "cond/then_branch/r", "cond/else_branch/h"},
            {"k", "cond/else_branch/r", "y"},
        ),
        (
            IF.replace("k = Exp(h)", "k = NonZero(h)").replace("r = Neg(k)", "r = Neg(h)"),
            *("k", " (inside If `cond`): "),
            {"a", "cond/then_branch/h", "cond/then_branch/r", "cond/else_branch/h"},
            {"k", "cond/else_branch/r", "y"},
        ),
        (
            FUNCTIONS.replace("r = Neg(t)", "[bad] n = NonZero(t) r = Cast <to = 1> (n)"),
            *("bad", " (in the local function node_of_a (f), inner (h)): "),
            {"x", "t"},
            {"a", "b", "y"},
        ),
    ],
)
def test_an_error_inside_keeps_what_came_before_and_names_the_node(
    text: str, node: str, where: str, reached: set[str], unreached: set[str]
) -> None:
    view = installed.view(model_of(text))
    (refusal,) = view.refusals
    assert (refusal.node, refusal.op) == (node, "NonZero")
    assert where in refusal.reason
    assert reached <= set(view.shapes)
    assert not unreached & set(view.shapes)


@needs_rtx
def test_an_error_without_a_reason_says_where_it_arose() -> None:
    text = """<ir_version: 8, opset_import: ["": 18]>
    g (float[1,4,4] x) => (float[1,1,3,3] y) {
      a = Relu(x)
      image = Constant <value_ints = [3, 3]> ()
      block = Constant <value_ints = [2, 2]> ()
      [fold] y = Col2Im(a, image, block)
    }"""
    view = installed.view(Model(ir.from_onnx_text(text)))
    (refusal,) = view.refusals
    assert (refusal.node, refusal.op) == ("fold", "Col2Im")
    assert refusal.reason == (
        f"{RTX} 1.6.1.120 does not support this operator here: "
        "it gives no reason but `false`, in checkCol2Im"
    )
    assert view.shapes == {"x": (1, 4, 4), "a": (1, 4, 4), "image": (2,), "block": (2,)}


@needs_rtx
def test_layers_that_the_parser_adds_belong_to_a_node() -> None:
    def by_node(text: str) -> dict[str, tuple[str, ...]]:
        model = model_of(text)
        lines: list[str] = []
        with as_file(model) as path:
            request = {"task": "parse", "tensorrt": RTX, "model": str(path)}
            result = process.call(
                request,
                on_event=lambda event: lines.extend(line for _, line in event.get("lines", ())),
            )
        joined = scopes.join(scopes.read(lines), model.ir.graph)
        return dict(layers.by_node(model.ir, joined, result["made"]))

    made = by_node("""
    g (float[2,3,N] x, float[4,3,3] w) => (float[2,4,M] y) {
      [conv] a = Conv(x, w)
      b = Constant <value_floats = [1.0]> ()
      [add] y = Add(a, b)
    }""")
    assert list(made) == ["conv", "add"]
    assert [name for name in made["conv"] if name.startswith("ONNXTRT_")] == [
        "ONNXTRT_unsqueezeTensor",
        "ONNXTRT_unsqueezeTensor_1",
        "ONNXTRT_squeezeTensor",
    ]
    assert made["add"] == ("b", "ONNXTRT_Broadcast", "add")
    nested = by_node(IF)
    assert nested["cond"] == ("a_InputLayer", "cond_OutputLayer")
    assert {name for name in by_node(LOOP)["loop"] if name.startswith("ONNXTRT_")} == {
        "ONNXTRT_castHelper",
        "ONNXTRT_convertToScalar",
    }


def test_lines_that_fit_nothing_are_left_out() -> None:
    model = model_of(IF).ir
    log = [
        "Adding network input: x with dtype: float32, dimensions: (-1, 3)",
        "Adding network input: other with dtype: float32, dimensions: (7)",
        "never begun [Relu] outputs: [a -> (9, 9)[FLOAT]], ",
        "Parsing node: node_of_a [Relu]",
        "node_of_a [Relu] outputs: [a -> (-1, 3)[FLOAT]], ",
        "Parsing node: cond [If]",
        "Parsing node: node_of_h [Sigmoid]",
        "node_of_h [Sigmoid] outputs: [h -> (5)[FLOAT]], ",
        "Parsing node: node_of_k [Exp]",
        "node_of_k [Exp] outputs: [k -> (3, -1)[FLOAT]], ",
        "garbage [",
        "cond [If] outputs: [y -> (-1, -1)[FLOAT]], ",
    ]
    joined = scopes.join(scopes.read(log), model.graph)
    names = truth.names(model)
    assert {names[value]: shape for value, shape in joined.shapes.items()} == {
        "x": (-1, 3),
        "a": (-1, 3),
        "k": (3, -1),
        "y": (-1, -1),
    }
