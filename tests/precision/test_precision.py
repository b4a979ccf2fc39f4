"""Models in float16 and bfloat16: which nodes stay in float32, what is cast, what it costs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.helpers.graphs import build, execute, feed, interface, to_bytes
from tripoint.errors import ExternalStepError, UsageError
from tripoint.model import Model, load, save
from tripoint.precision.lower import Lowered, lower
from tripoint.precision.prepare import prepare
from tripoint.precision.rounding import rounding
from tripoint.precision.simulate import rehearse

FLOAT, FLOAT16, BFLOAT16 = ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16


def named(text: str, opset: int = 17) -> Model:
    """A model from ONNX text with names for its nodes."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    return Model(ir.from_proto(proto))


def checked(lowered: Lowered) -> Lowered:
    """The same, once ONNX has found every type and order in it to be right."""
    onnx.checker.check_model(ir.to_proto(lowered.model), full_check=True)
    return lowered


def type_of(lowered: Lowered, tensor: str) -> ir.DataType | None:
    graph = lowered.model.graph
    made = {value.name: value for node in graph for value in node.outputs}
    return (made | dict(graph.initializers) | {v.name: v for v in graph.inputs})[tensor].dtype


def reasons(lowered: Lowered) -> dict[str, str]:
    return {entry.node: entry.reason for entry in lowered.kept}


def casts(lowered: Lowered) -> int:
    return sum(node.op_type == "Cast" for node in lowered.model.graph.all_nodes())


CONV = build(
    "float[N,3,8,8] x, float[4,3,3,3] w_c, float[4] w_b",
    "c = Conv<pads=[1,1,1,1]>(x, w_c, w_b); r = Relu(c); y = MaxPool<kernel_shape=[2,2]>(r)",
    opset=17,
)


# What becomes of a graph


@pytest.mark.parametrize(("precision", "low"), [("fp16", FLOAT16), ("bf16", BFLOAT16)])
def test_all_between_inputs_and_outputs_is_lowered(precision, low):
    before = to_bytes(CONV)
    found = checked(lower(CONV, precision))
    assert to_bytes(CONV) == before
    assert interface(Model(found.model)) == interface(CONV)
    assert {type_of(found, name) for name in ("c", "r", "w_c", "w_b")} == {low}
    assert casts(found) == found.casts == 2
    assert found.kept == ()
    assert found.lowered == 3


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_inputs_and_outputs_can_match(precision):
    found = checked(lower(CONV, precision, io="match"))
    low = {"fp16": FLOAT16, "bf16": BFLOAT16}[precision]
    assert [value.dtype for value in found.model.graph.inputs] == [low]
    assert [value.dtype for value in found.model.graph.outputs] == [low]
    assert casts(found) == found.casts == 0
    assert rehearse(found, [{"N": 2}]).finite


def test_converted_model_runs_in_onnxruntime_and_is_near():
    found = checked(lower(CONV, "fp16"))
    fed = feed(CONV, N=2)
    (exact,), (low,) = execute(CONV, fed), execute(Model(found.model), fed)
    error = np.abs(exact - low).max()
    assert 0 < error < 0.01 * np.abs(exact).max()


def test_other_types_are_left_alone():
    model = build(
        "int64[N] i, bool[N] b, float[N] x, float16[N] h",
        "j = Add(i, i); n = Not(b); e = Add(x, x); k = Add(h, h)",
        outputs="int64[N] j, bool[N] n, float[N] e, float16[N] k",
    )
    found = checked(lower(model, "bf16"))
    assert interface(Model(found.model)) == interface(model)
    # What the model has in float16 stays in it.
    assert type_of(found, "k") == FLOAT16
    assert found.casts == 2


def test_names_of_nodes_stay():
    model = named(
        """g (float[4,4] x) => (float[4,4] y) {
             [same] a = Relu (x)
             [same] b = Softmax (a)
             y = MatMul (b, a) }"""
    )
    found = checked(lower(model, "fp16"))
    own = [node.name for node in found.model.graph if node.op_type != "Cast"]
    assert sorted(name or "" for name in own) == ["", "same", "same"]
    assert reasons(found) == {"same": "it reduces over exponentials"}


def test_weights_stay_in_their_file_until_they_are_written(tmp_path):
    model = build("float[2,64] x, float[64,64] w_a", "y = MatMul(x, w_a)", opset=17)
    weights = model.ir.graph.initializers["w_a"].const_value.numpy()
    ir.save(model.ir, tmp_path / "model.onnx", external_data="w.bin")
    found = checked(lower(load(tmp_path / "model.onnx"), "fp16"))
    assert isinstance(found.model.graph.initializers["w_a"].const_value, ir.LazyTensor)
    written = save(Model(found.model), tmp_path / "low.onnx")
    tensor = written.ir.graph.initializers["w_a"].const_value
    assert tensor.dtype == FLOAT16
    np.testing.assert_array_equal(tensor.numpy(), weights.astype(np.float16))


def test_input_or_constant_that_is_an_output():
    model = build(
        "float[4] x | float[4] c = {1.0, 2.0, 3.0, 1e6}",
        "y = Add(x, c); z = Identity(c); v = Identity(x)",
        outputs="float[4] y, float[4] z, float[4] v",
    )
    for output, source in (("z", "c"), ("v", "x")):
        position = [value.name for value in model.ir.graph.outputs].index(output)
        node = model.ir.graph.outputs[position].producer()
        assert node is not None
        read = node.inputs[0]
        assert read is not None
        model.ir.graph.outputs[position] = read
        model.ir.graph.remove(node, safe=False)
        assert model.ir.graph.outputs[position].name == source
    model.ir.graph.outputs[2].name = "x"
    found = lower(model, "fp16")
    assert [value.name for value in found.model.graph.outputs][:2] == ["y", "c"]
    assert rehearse(found, [{}]).points[0].outputs[0].name == "y"


def test_local_functions_are_inlined():
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2,4] x) => (float[2,4] y) { y = local.twice (x) }
        <domain: "local", opset_import: ["": 17]>
        twice (a) => (b) { c = Add (a, a)  b = Softmax (c) }"""
    )
    found = checked(lower(Model(ir.from_proto(proto)), "fp16"))
    assert not found.model.functions
    assert len(found.kept) == found.lowered == 1


def test_constants_of_kept_nodes_stay_exact():
    """A constant that nodes of both types read is there twice."""
    model = build(
        "float[4] x | float[4] c = {1.0001, 2.0002, 3.0003, 4.0004}",
        "a = Add(x, c); b = Pow(x, c); y = Mul(a, b)",
    )
    found = checked(lower(model, "fp16"))
    by_type = {v.dtype: v.const_value.numpy() for v in found.model.graph.initializers.values()}
    assert by_type[FLOAT].dtype == np.float32
    np.testing.assert_array_equal(by_type[FLOAT], np.float32([1.0001, 2.0002, 3.0003, 4.0004]))
    np.testing.assert_array_equal(by_type[FLOAT16], by_type[FLOAT].astype(np.float16))


def test_graphs_inside_of_nodes_stay_and_get_float32():
    model = named(
        """g (float[4] x, bool c) => (float[4] y) {
             [outer] a = Add (x, x)
             [choice] b = If (c) <
               then_branch = yes () => (float[4] t) { [inner] t = Mul (a, a) },
               else_branch = no () => (float[4] e) { e = Sub (a, x) } >
             [last] y = Add (b, a) }"""
    )
    found = checked(lower(model, "fp16"))
    assert reasons(found) == {"choice": "it holds graphs, which are left in float32"}
    assert type_of(found, "a") == FLOAT16
    for choice in (True, False):
        fed = {"x": np.float32([1, 2, 3, 4]), "c": np.array(choice)}
        (exact,), (low,) = execute(model, fed), execute(Model(found.model), fed)
        np.testing.assert_allclose(low, exact, rtol=1e-3)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_graphs_of_a_node_without_float_stay_too(precision):
    model = named(
        """g (float[4] x, bool c) => (int64[4] k, float[4] y) {
             a = Add (x, x)
             k = If (c) <
               then_branch = yes () => (int64[4] t) { s = Mul (a, a)  t = Cast <to = 7> (s) },
               else_branch = no () => (int64[4] e) { e = Cast <to = 7> (x) } >
             y = Relu (a) }"""
    )
    found = checked(lower(model, precision))
    inner = [node for node in found.model.graph.all_nodes() if node.op_type == "Mul"]
    assert inner[0].inputs[0].dtype == FLOAT


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_filling_follows(precision):
    model = build("float[N,4] x", "s = Shape(x); c = ConstantOfShape(s); y = Add(x, c)")
    (filling,) = (node for node in model.ir.graph if node.op_type == "ConstantOfShape")
    filling.attributes.add(ir.AttrTensor("value", ir.tensor([0.1], dtype=FLOAT)))
    found = checked(lower(model, precision))
    assert type_of(found, "c") == found.low
    assert 0 < rehearse(found, [{"N": 3}]).points[0].outputs[0].max_abs < 0.05


def test_bfloat16_takes_an_opset_that_knows_it():
    found = checked(lower(CONV, "bf16"))
    assert found.model.opset_imports[""] == 22
    assert lower(CONV, "fp16").model.opset_imports[""] == 17


# What stays in float32


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("m = LayerNormalization(x, w_s)", "float[2,4] x, float[4] w_s"),
        ("m = Softmax(x)", "float[2,4] x"),
        ("m = Exp(x)", "float[2,4] x"),
        ("m = ReduceL2<axes=[1]>(x)", "float[2,4] x"),
        ("m = CumSum(x, a)", "float[2,4] x | int64 a = {1}"),
        ("m = Sin(x)", "float[2,4] x"),
        ("m, i = TopK(x, k)", "float[2,4] x | int64[1] k = {2}"),
    ],
)
def test_fragile_operators(body, inputs):
    model = build(inputs, f"r = Relu(x); {body.replace('(x', '(r')}; y = Relu(m)", opset=17)
    found = checked(lower(model, "fp16"))
    (kept,) = found.kept
    assert kept.op in body
    assert type_of(found, "r") == type_of(found, "y") or casts(found) >= 2


def test_nodes_by_name_and_by_pattern():
    graph = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["": 17]> g (float[4,4] x) => (float[4,4] y) '
        "{ a = Relu (x)  b = Neg (a)  c = Abs (b)  y = MatMul (c, a) }"
    )
    for node, name in zip(graph.graph, ("head[0]/a", "head[0]/b", "body/c", ""), strict=True):
        node.name = name
    model = Model(graph)
    # Brackets are a pattern only where no node has the name.
    assert list(reasons(checked(lower(model, "fp16", keep=["head[0]/a"])))) == ["head[0]/a"]
    found = checked(lower(model, "fp16", keep=["head*", "y"]))
    assert reasons(found) == {
        "head[0]/a": "--keep-fp32 head*",
        "head[0]/b": "--keep-fp32 head*",
        "y": "--keep-fp32 y",
    }
    with pytest.raises(UsageError, match=r"'body/x' fits no node") as raised:
        lower(model, "fp16", keep=["body/x"])
    assert "body/c" in raised.value.hint


def test_sizes_stay_exact():
    """Sizes beyond 2048 are no longer whole numbers in float16."""
    model = build(
        "float[N,2] x | float f = {2.0}, int64[1] one = {-1}",
        "s = Shape<start=0,end=1>(x); t = Cast<to=1>(s); u = Mul(t, f); v = Floor(u);"
        "w = Cast<to=7>(v); z = Relu(x); r = Reshape(z, w); y = Neg(r)",
        opset=17,
        outputs="float[M] y",
    )
    found = checked(lower(model, "fp16"))
    assert set(reasons(found)) == {"t", "u", "v", "w"}
    fed = feed(model, N=2049)
    (low,) = execute(Model(found.model), fed)
    assert low.shape == (4098,)


def test_masks_are_lowered_and_clamped():
    """``(1 - mask) * -3.4e38`` is made from integers, too, but is no size."""
    model = build(
        "float[2,4] x, int64[2,4] mask | float one = {1.0}, float big = {-3.4e38}",
        "m = Cast<to=1>(mask); n = Sub(one, m); k = Mul(n, big); s = Add(x, k); y = Softmax(s)",
    )
    found = checked(lower(model, "fp16"))
    assert list(reasons(found)) == ["y"]
    assert [(entry.name, entry.largest < -3e38) for entry in found.clamped] == [("big", True)]
    assert found.model.graph.initializers["big"].const_value.numpy() == np.float16(-65504)
    fed = {"x": np.ones((2, 4), np.float32), "mask": np.array([[1, 1, 0, 0], [1, 0, 0, 0]])}
    (exact,), (low,) = execute(model, fed), execute(Model(found.model), fed)
    np.testing.assert_allclose(low, exact, atol=1e-3)


def test_scale_beyond_the_range_keeps_its_node():
    model = build(
        "float[4] x | float f = {1e6}, float g = {1e6}",
        "a = Mul(x, f); b = Min(a, g); y = Relu(x); z = Add(y, b)",
        outputs="float[4] z",
    )
    found = checked(lower(model, "fp16"))
    assert reasons(found) == {"a": "its constant 1000000.0 is beyond the range of float16"}
    assert lower(model, "bf16").kept == ()


@pytest.mark.parametrize("square", ["q = Mul(d, d)", "q = Pow(d, two)"])
def test_variance_that_was_written_out(square):
    model = build(
        "float[2,8] x | float two = {2.0}, float eps = {1e-12}",
        f"m = ReduceMean<axes=[1]>(x); d = Sub(x, m); {square}; v = ReduceMean<axes=[1]>(q);"
        "e = Add(v, eps); r = Sqrt(e); y = Div(d, r)",
        opset=13,
    )
    found = checked(lower(model, "fp16"))
    assert set(reasons(found)) == {"q", "v", "e", "r"}
    # One cast into the chain, one out of it, and those of input and output.
    assert casts(found) == 4


def test_root_of_something_else_is_lowered():
    model = build("float[4] x", "a = Abs(x); y = Sqrt(a)")
    assert lower(model, "fp16").kept == ()


def test_no_casts_between_kept_nodes():
    model = build(
        "float[2,8] x | int64[2] s = {4, 4}",
        "r = Relu(x); a = Exp(r); b = Reshape(a, s); c = Softmax(b); y = Softmax(c)",
    )
    found = checked(lower(model, "fp16"))
    assert set(reasons(found)) == {"a", "b", "c", "y"}
    # The output is made in float32 and is to be so.
    assert casts(found) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("m = Custom.Op(r)", "operator of Custom"),
        ("m = RandomNormalLike(r)", None),
        ("m = HannWindow(k)", "of a type that an attribute decides"),
    ],
)
def test_operators_that_cannot(body, reason):
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17, "Custom": 1]> '
        "g (float[4] x) => (float[4] y) <int64 k = {4}> "
        f"{{ r = Relu (x)  {body}  y = Add (m, r) }}"
    )
    found = lower(Model(ir.from_proto(proto)), "fp16")
    if reason is not None:
        assert reason in reasons(found)["m"]
        assert type_of(found, "m") in (FLOAT, FLOAT16, None)


def test_operator_that_its_opset_does_not_define():
    found = lower(build("float[4] x", "r = Relu(x); y = Erf(r)", opset=12), "fp16")
    assert found.kept == ()
    quantized = build(
        "float[4] x | int8[4] q = {1, 2, 3, 4}, float s = {0.5}",
        "r = Relu(x); a = DequantizeLinear(q, s); y = Mul(r, a)",
        opset=13,
    )
    found = checked(lower(quantized, "fp16"))
    assert reasons(found) == {"a": "opset 13 does not define it for float16"}


@pytest.mark.parametrize(
    "model",
    [
        build("int64[4] x", "y = Add(x, x)"),
        build("float[4] x", "y = Softmax(x)"),
    ],
)
def test_model_without_a_node_that_can(model):
    with pytest.raises(ExternalStepError, match="no node of the model can compute in fp16") as e:
        lower(model, "fp16")
    assert e.value.exit_code == 4


# What it costs


def test_rehearsal_rounds_as_the_type_does():
    model = build("float[64] x, float[64] w_a", "m = Mul(x, w_a); y = Add(m, w_a)")
    fed = feed(model)
    weights = model.ir.graph.initializers["w_a"].const_value.numpy()
    for precision, dtype in (("fp16", np.dtype(np.float16)), ("bf16", BFLOAT16.numpy())):
        found = lower(model, precision)
        (low,) = execute(Model(rounding(found.model, found.low)), fed)
        a = weights.astype(dtype).astype(np.float32)
        x = fed["x"].astype(dtype).astype(np.float32)
        m = (x * a).astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(low, (m + a).astype(dtype).astype(np.float32))


def test_error_is_reported_for_each_point():
    found = lower(CONV, "fp16")
    result = rehearse(found, [{"N": 1}, {"N": 3}])
    assert [dict(point.sizes) for point in result.points] == [{"N": 1}, {"N": 3}]
    for point in result.points:
        (output,) = point.outputs
        assert output.name == "y"
        assert 0 < output.max_abs < 0.1
        assert 0 < output.max_rel < 0.01
    assert result.finite
    assert result.loads
    assert result.note is None


def test_bfloat16_does_not_load_on_a_cpu_and_says_so():
    result = rehearse(lower(CONV, "bf16"), [{"N": 1}])
    assert not result.loads
    assert "no bfloat16 kernels" in result.note
    assert 0 < result.points[0].outputs[0].max_abs < 0.5


OVERFLOW = named(
    """g (float[N,4] x) => (float[N,4] y)
       <float f = {300.0}, float h = {0.00001}> {
         [start] a = Relu (x)
         [up] b = Mul (a, f)
         [further] c = Mul (b, f)
         [down] d = Mul (c, h)
         [end] y = Neg (d) }"""
)


def test_overflow_names_the_first_node_and_what_to_keep():
    with pytest.raises(ExternalStepError) as raised:
        prepare(OVERFLOW, "fp16", points=[{"N": 1}, {"N": 64}])
    assert raised.value.exit_code == 4
    assert raised.value.fact.startswith(
        "node 'further' (Mul) is the first whose result is not finite in fp16 at N="
    )
    assert "--keep-fp32 further --keep-fp32 down keeps 2 nodes" in raised.value.hint
    assert "--precision bf16" in raised.value.hint
    kept = prepare(OVERFLOW, "fp16", keep=["further", "down"], points=[{"N": 1}, {"N": 64}])
    assert kept.rehearsal.finite
    assert prepare(OVERFLOW, "bf16", points=[{"N": 64}]).rehearsal.finite


def test_overflow_of_an_output_that_is_to_be_low():
    """No node can help where the output itself has to hold the number."""
    model = build(
        "float[4] x | float[4] f = {1e4, 1e4, 1e4, 1e4}", "a = Mul(x, f); b = Mul(a, f); y = Neg(b)"
    )
    with pytest.raises(ExternalStepError, match="keeping nodes in float32 does not help"):
        prepare(model, "fp16", io="match", points=[{}])
    with pytest.raises(ExternalStepError) as raised:
        prepare(model, "fp16", points=[{}])
    assert "--keep-fp32 b --keep-fp32 y" in raised.value.hint


def test_without_points_nothing_is_measured():
    found = prepare(OVERFLOW, "fp16", points=None)
    assert found.lowered is not None
    assert found.rehearsal is None


@pytest.mark.parametrize("precision", [None, "tf32", "fp32"])
def test_precisions_that_leave_the_graph(precision):
    assert prepare(CONV, precision).lowered is None


def test_fp32_of_a_model_that_has_less():
    model = build("float16[4] x", "y = Add(x, x)")
    with pytest.raises(ExternalStepError, match="the model itself has float16, first at node 'y'"):
        prepare(model, "fp32")
    assert prepare(model, "tf32").lowered is None


def test_points_are_the_ends_of_the_profiles():
    from tripoint.profiles.points import ends_of
    from tripoint.profiles.profile import from_spec
    from tripoint.spec import Spec

    shapes = {"x": ("N", 3), "z": ("N", "M")}
    profile = from_spec(shapes, Spec.parse(dims=["N=1..2..4", "M=5"]))
    assert ends_of(shapes, [profile]) == [
        {"N": 1, "M": 5},
        {"N": 2, "M": 5},
        {"N": 4, "M": 5},
    ]
    assert ends_of({"x": (1, 3)}, []) == [{}, {}, {}]
