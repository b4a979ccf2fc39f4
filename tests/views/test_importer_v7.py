from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.symbols import Shape
from tripoint.table import View
from tripoint.views.importers import view

# Squeeze(-1), Conv1d and Expand over a Shape, with the shapes that TensorRT 7.1.3 printed for it
# (public log of an ECA block).
SEED = """
conv = Conv<pads=[1,1,1,1]>(x, w_1)
pool = GlobalAveragePool(conv)
flat = Squeeze<axes=[-1]>(pool)
turned = Transpose<perm=[0,2,1]>(flat)
eca = Conv<pads=[1,1]>(turned, w_2)
back = Transpose<perm=[0,2,1]>(eca)
four = Unsqueeze<axes=[-1]>(back)
gate = Sigmoid(four)
sizes = Shape(conv)
wide = Expand(gate, sizes)
scaled = Mul(conv, wide)
y = Conv<pads=[1,1,1,1]>(scaled, w_3)
"""
SEED_INPUTS = "float[1,3,5,5] x, float[5,3,3,3] w_1, float[1,1,3] w_2, float[5,5,3,3] w_3"
SEED_SHAPES = {
    "x": (1, 3, 5, 5),
    "conv": (1, 5, 5, 5),
    "pool": (1, 5, 1, 1),
    "flat": (1, 5, 1),
    "turned": (1, 1, 5),
    "eca": (1, 1, 5),
    "back": (1, 5, 1),
    "four": (1, 5, 1, 1),
    "gate": (1, 5, 1, 1),
    "sizes": (4,),
    "wide": (-1, -1, -1, -1),
    "scaled": (-1, 5, 5, 5),
    "y": (-1, 5, 5, 5),
}


def build(inputs: str, body: str, opset: int = 11) -> Model:
    """A model; constants follow the inputs after ``|``, inputs ``w_*`` become zero weights."""
    variables, _, constants = inputs.partition("|")
    nodes = body.replace(";", "\n")
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> '
        f"g ({variables}) => (y) {f'<{constants}>' if constants else ''} {{ {nodes} }}"
    )
    for value in [v for v in proto.graph.input if v.name.startswith("w_")]:
        proto.graph.input.remove(value)
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        zeros = np.zeros(
            dims, onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        )
        proto.graph.initializer.append(numpy_helper.from_array(zeros, value.name))
    return Model(ir.from_proto(proto))


def see(inputs: str, body: str, opset: int = 11, version: str = "7.1") -> View:
    model = build(inputs, body, opset)
    return view(model, truth.infer(model.ir).shapes, version)


def true_shapes(model: Model) -> dict[str, Shape | None]:
    return dict(truth.infer(model.ir).shapes)


def test_seed_graph_has_the_shapes_of_its_log() -> None:
    seen = see(SEED_INPUTS, SEED)
    assert dict(seen.shapes) == SEED_SHAPES
    assert seen.refusals == ()
    assert set(seen.reasons) == {"wide"}
    assert seen.reasons["wide"].via == ("sizes",)
    assert seen.reasons["wide"].text == (
        "the size operand `sizes` is computed at run time by Shape, and TensorRT 7.1 evaluates "
        "no size operand while the network is built, so every dim is -1"
    )
    assert (seen.target.name, seen.target.kind, seen.target.version) == ("7.1", "importer", "7.1")


IMPORTED = [
    # convolution and pooling
    ("float[N,3,H,8] x, float[5,3,3,3] w_k", "y = Conv(x, w_k)", (-1, 5, -1, 6)),
    (
        "float[1,4,9,9] x, float[8,2,3,3] w_k, float[8] w_b",
        "y = Conv<group=2, strides=[2,2], dilations=[2,2]>(x, w_k, w_b)",
        (1, 8, 3, 3),
    ),
    ("float[1,3,7] x, float[5,3,3] w_k", 'y = Conv<auto_pad="SAME_UPPER">(x, w_k)', (1, 5, 7)),
    ("float[N,3,7] x, float[5,3,3] w_k", "y = Conv(x, w_k)", (-1, -1, -1)),
    ("float[1,3,7,7] x, float[5,3,3,3] k", "y = Conv(x, k)", (1, 5, 5, 5)),
    (
        "float[1,3,4,4] x, float[3,5,2,2] w_k",
        "y = ConvTranspose<strides=[2,2], output_padding=[1,1]>(x, w_k)",
        (1, 5, 9, 9),
    ),
    ("float[N,3,8] x", "y = MaxPool<kernel_shape=[2]>(x)", (-1, -1, -1)),
    ("float[N,3,8,8] x", "y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(x)", (-1, 3, 3, 3)),
    (
        "float[1,3,8,8] x",
        "y = AveragePool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)",
        (1, 3, 4, 4),
    ),
    ("float[N,3,H,W] x", "y = GlobalAveragePool(x)", (-1, 3, 1, 1)),
    # shape operators
    ("float[N,1,3] x", "y = Squeeze<axes=[0]>(x)", (1, 3)),
    ("float[N,1,3] x", "y = Squeeze<axes=[1]>(x)", (-1, -1)),
    ("float[2,3] x", "y = Unsqueeze<axes=[0,-1]>(x)", (1, 2, 3, 1)),
    ("float[N,3] x", "y = Unsqueeze<axes=[0]>(x)", (-1, -1, -1)),
    ("float[2,3,4] x", "y = Flatten<axis=2>(x)", (6, 4)),
    ("float[N,3,4] x", "y = Flatten(x)", (-1, -1)),
    ("float[N,3] x", "y = Flatten(x)", (-1, 3)),
    ("float[N,3,4] x", "y = Transpose<perm=[2,0,1]>(x)", (4, -1, 3)),
    ("float[N,3] x, float[2,3] z", "y = Concat<axis=0>(x, z)", (-1, 3)),
    ("float[N,3] x, float[M,3] z, float[2,3] u", "y = Concat<axis=1>(x, z, u)", (2, 9)),
    ("float[N,5] x, int64[2,2] i", "y = Gather<axis=1>(x, i)", (-1, 2, 2)),
    ("float[N,H,3] x", "y = Shape(x)", (3,)),
    ("float[N,3] x", "y = Size(x)", ()),
    ("float[1,3] x | int64[3] s = {2,1,3}", "y = Expand(x, s)", (2, 1, 3)),
    ("float[N,3] x | int64[2] s = {2,3}", "y = Expand(x, s)", (-1, -1)),
    ("float[2,12] x | int64[3] s = {0,-1,4}", "y = Reshape(x, s)", (2, 3, 4)),
    ("float[N,12] x | int64[3] s = {0,4,3}", "y = Reshape(x, s)", (-1, 4, 3)),
    ("float[N,12] x | int64[2] s = {-1,6}", "y = Reshape(x, s)", (-1, 6)),
    ("float[2,12] x | int64[3] s = {0,4,3}", "t = Identity(s); y = Reshape(x, t)", (-1, -1, -1)),
    (
        "float[2,12] x | int64 n = {24}, int64[1] m = {1}",
        "a = Unsqueeze<axes=[0]>(n); t = Concat<axis=0>(m, a); y = Reshape(x, t)",
        (-1, -1),
    ),
    ("float[2,3] x | int64[2] s = {4,5}", "y = ConstantOfShape(s)", (-1, -1)),
    ("float[1] x | int64 a = {2}, int64 b = {11}, int64 c = {3}", "y = Range(a, b, c)", (3,)),
    ("float[1] x | float a = {0.0}, float b = {1.0}, float c = {0.3}", "y = Range(a, b, c)", (4,)),
    ("int64 x | int64 a = {2}, int64 c = {3}", "y = Range(a, x, c)", (-1,)),
    ("float[2,3] x | int64[2] r = {2,1}", "y = Tile(x, r)", (4, 3)),
    ("float[N,3] x | int64[2] r = {1,1}", "y = Tile(x, r)", (-1, -1)),
    ("float[2,3] x, int64[2] r", "y = Tile(x, r)", (-1, -1)),
    (
        "float[9,7] x | int64[2] a = {-4,1}, int64[2] b = {9223372036854775807,6},"
        " int64[2] d = {0,-1}, int64[2] s = {1,2}",
        "y = Slice(x, a, b, d, s)",
        (4, 3),
    ),
    (
        "float[9,7] x | int64[1] a = {-1}, int64[1] b = {-9223372036854775807},"
        " int64[1] d = {1}, int64[1] s = {-1}",
        "y = Slice(x, a, b, d, s)",
        (9, 7),
    ),
    (
        "float[N,7] x | int64[1] a = {0}, int64[1] b = {2}, int64[1] d = {1}",
        "y = Slice(x, a, b, d)",
        (-1, -1),
    ),
    (
        "float[9,7] x, int64[1] b | int64[1] a = {0}, int64[1] d = {1}",
        "y = Slice(x, a, b, d)",
        (-1, -1),
    ),
    ("float[9,4] x", "y, z = Split<axis=0, split=[2,7]>(x)", (2, 4)),
    ("float[N,4] x", "y, z = Split<axis=1>(x)", (-1, -1)),
    ("float[1,8,2,3] x", "y = DepthToSpace<blocksize=2>(x)", (1, 2, 4, 6)),
    ("float[N,8,2,4] x", "y = SpaceToDepth<blocksize=2>(x)", (-1, -1, -1, -1)),
    ("float[N,3,4,4] x | int64[8] p = {0,0,1,2,0,0,3,4}", "y = Pad(x, p)", (-1, 3, 8, 10)),
    ("float[N,3,4] x | int64[6] p = {0,0,1,0,0,1}", "y = Pad(x, p)", (-1, -1, -1)),
    (
        "float[N,3,4,4] x | float[0] r = {}, float[4] s = {1.0,1.0,2.0,2.5}",
        'y = Resize<nearest_mode="floor">(x, r, s)',
        (-1, 3, 8, 10),
    ),
    ("float[1,4] x | float[2] s = {1.0,2.5}", "y = Upsample(x, s)", (1, 10), 9),
    # elementwise and reductions
    ("float[1,N,3] x, float[1,N,3] z", "e = Less(x, z); y = Not(e)", (1, -1, 3)),
    ("float[N,5] x, float[3,1] z", "y = Add(x, z)", (3, 5)),
    ("float[N,5] x, float[1,M] z", "y = Max(x, z)", (-1, 5)),
    ("float[2,M,5] x, float[N,5] z", "y = Mul(x, z)", (2, -1, 5)),
    ("float[2,1,1] x, float[N,5] z", "y = Mul(x, z)", (2, -1, -1)),
    ("float[2,1,5] x | float[5] c = {1.0,2.0,3.0,4.0,5.0}", "y = Sub(x, c)", (2, 1, 5)),
    ("bool[1] c, float[N,5] x, float[3,1] z", "y = Where(c, x, z)", (3, 5)),
    ("float[N,5,3] x", "y = ReduceMean<axes=[-1,1]>(x)", (-1, 1, 1)),
    ("float[N,5,3] x", "y = ReduceSum<axes=[0], keepdims=0>(x)", (5, 3)),
    ("float[N,5] x", "y = Softmax<axis=1>(x)", (-1, -1)),
    ("float[2,5] x", "y = LogSoftmax(x)", (2, 5)),
    ("float[N,5] x", "y = ArgMax<axis=1>(x)", (-1, 1)),
    ("float[N,5] x", "y = ArgMax<axis=1, keepdims=0>(x)", (-1,)),
    ("float[N,M,5] x", "y = ArgMax<axis=2, keepdims=0>(x)", (-1, -1)),
    ("float[N,5] x | int64[1] k = {3}", "y, i = TopK(x, k)", (-1, 3)),
    ("float[N,3] x", "y = Cast<to=6>(x)", (-1, 3)),
    (
        "float[N,3,4] x, float[3] w_a, float[3] w_b, float[3] w_c, float[3] w_d",
        "y = BatchNormalization(x, w_a, w_b, w_c, w_d)",
        (-1, -1, -1),
    ),
    # products
    ("float[N,4,5] x, float[5,6] w_k", "y = MatMul(x, w_k)", (-1, 4, 6)),
    ("float[4,5] x, float[5,6] w_k", "y = MatMul(x, w_k)", (4, 6)),
    ("float[N,5] x, float[5,6] w_k", "y = MatMul(x, w_k)", (-1, -1)),
    ("float[N,5] x, float[5,6] z", "y = MatMul(x, z)", (-1, 6)),
    ("float[2,N,5] x, float[5,M] z", "y = MatMul(x, z)", (2, -1, -1)),
    ("float[5] x, float[5] z", "y = MatMul(x, z)", ()),
    ("float[N,5] x, float[6,5] w_k, float[6] w_b", "y = Gemm<transB=1>(x, w_k, w_b)", (-1, 6)),
    # recurrent
    (
        "float[7,2,3] x, float[1,16,3] w_a, float[1,16,4] w_b",
        "y = LSTM<hidden_size=4>(x, w_a, w_b)",
        (-1, -1, -1, -1),
    ),
]


@pytest.mark.parametrize("case", IMPORTED, ids=lambda case: case[1])
def test_imported(case: tuple[str, str, tuple[int, ...]]) -> None:
    inputs, body, expected, *opset = case
    seen = see(inputs, body, *opset)
    assert seen.shapes["y"] == expected
    assert seen.refusals == ()


AXES = "since opset 13 they are an input"
NOTED = [
    # (inputs, body, opset, shape, part of the reason)
    ("float[2,1,3] x | int64[1] a = {1}", "y = Squeeze(x, a)", 13, (2, 3), AXES),
    ("float[2,3] x | int64[1] a = {1}", "y = Unsqueeze(x, a)", 13, (2, 1, 3), AXES),
    ("float[2,1,3] x", "y = Squeeze(x)", 11, (2, 3), "needs the axes of Squeeze"),
    ("float[1,5,3] x | int64[1] a = {2}", "y = ReduceMean(x, a)", 18, (1, 1, 1), "silently"),
    ("float[1,5,3] x | int64[1] a = {2}", "y = ReduceSum<keepdims=0>(x, a)", 13, (), "silently"),
    ("float[9,4] x | int64[2] s = {2,7}", "y, z = Split(x, s)", 13, (4, 4), "splits equally"),
    ("float[N,7] x", "y, z = Split<axis=1, num_outputs=2>(x)", 18, (-1, -1), "splits 7 into 2"),
    ("float[2,3,4] x", "y = Softmax<axis=1>(x)", 13, (2, 3, 4), "before opset 13"),
    ("float[2,3,4] x", "y = Softmax(x)", 13, (2, 3, 4), "before opset 13"),
    ("float[2,3,4] x", "y = Shape<start=1>(x)", 15, (3,), "ignores `start`"),
    ("float[2,3] x", "y = Flatten<axis=0>(x)", 11, (2, 3), "silently returns `x` of rank 2"),
    ("float[N,3] x", "y = Flatten<axis=0>(x)", 11, (-1, 3), "silently returns `x` of rank 2"),
    ("float[0,3] x | int64[2] s = {0,3}", "y = Reshape<allowzero=1>(x, s)", 14, (0, 3), "allowz"),
    ("float[9] x | int64[1] i = {-1}", "y = Gather(x, i)", 11, (1,), "negative index"),
    ("float[3] x, float[3,4] z", "y = MatMul(x, z)", 11, (1, 4), "although it is (4,)"),
    ("float[4] x | int64[1] k = {2}", "y, i = TopK<largest=0>(x, k)", 11, (2,), "largest"),
    ("float[4] x, int64[1] k", "y, i = TopK(x, k)", 11, (-1,), "only as a constant"),
    (
        "bool[1,3] x | int64[2] s = {2,3}",
        "y = Expand(x, s)",
        11,
        (2, 3),
        "no BOOL input for Expand",
    ),
    ("bool[3] c, bool[3] x, bool[3] z", "y = Where(c, x, z)", 11, (3,), "no BOOL input for Where"),
    ("float[3] x, float[3] z", "e = Equal(x, z); y = Equal(e, e)", 11, (3,), "no BOOL input"),
    ("int64[3] x", "y = Relu(x)", 14, (3,), "no INT32 input for Relu"),
    ("float[3] x", "y = Cast<to=11>(x)", 11, (3,), "casts to no DOUBLE"),
    ("double[3] x", "y = Relu(x)", 11, (3,), "no type for the DOUBLE of `x`"),
    ("float[?,3] x", "y = Relu(x)", 11, (0, 3), "without a size or a name as 0"),
    (
        "float[3] x",
        *("c = Constant<value_ints=[1,2]>(); y = Cast<to=1>(c)", 13, (2,)),
        "only the attribute `value`",
    ),
    ("float[3] x, float m", "y = Clip(x, m)", 11, (3,), "bounds of Clip"),
    ("float[1,1,4,4] x", "y, i = MaxPool<kernel_shape=[2,2]>(x)", 11, (1, 1, 3, 3), "indices"),
    (
        "float[1,3,4,4] x, float[5,3,3,3] w_k, float[5] b",
        *("y = Conv(x, w_k, b)", 11, (1, 5, 2, 2), "bias of Conv"),
    ),
    (
        "float[1,3,4] x | int64[6] p = {0,1,0,0,1,0}",
        *('y = Pad<mode="reflect">(x, p)', 11, (1, 5, 4), "constant 0"),
    ),
    (
        "float[1,1,2,3,4] x | int64[10] p = {0,0,1,0,0,0,0,0,0,0}",
        *("y = Pad(x, p)", 11, (1, 1, 3, 3, 4), "the last two axes"),
    ),
    (
        "float[1,2,2,2] x | float[0] r = {}, float[4] s = {1.0,1.0,2.0,2.0}",
        *('y = Resize<mode="nearest">(x, r, s)', 11, (1, 2, 4, 4), "nearest_mode"),
    ),
    ("float[N,3] x", "y = IsNaN(x)", 13, (-1, 3), "has no importer for IsNaN"),
    (
        "float[N,3,4,4] x, float[3] w_s",
        "y = InstanceNormalization(x, w_s, w_s)",
        11,
        (-1, 3, 4, 4),
        "no InstanceNormalization for",
    ),
]


@pytest.mark.parametrize("case", NOTED, ids=lambda case: case[1])
def test_noted_and_gone_on(case: tuple[str, str, int, tuple[int, ...], str]) -> None:
    inputs, body, opset, expected, part = case
    seen = see(inputs, body, opset)
    assert seen.shapes["y"] == expected
    (refusal,) = seen.refusals
    assert part in refusal.reason
    assert refusal.reason.startswith("TensorRT 7.1 ")


@pytest.mark.parametrize(
    ("inputs", "body", "via", "part"),
    [
        (
            "float[N,1,3] x",
            *("y = Squeeze<axes=[1]>(x)", ("x",)),
            "one unknown dim of `x` makes the whole shape of Squeeze unknown in TensorRT 7.1",
        ),
        ("float[2,1,1] x, float[N,5] z", "y = Mul(x, z)", ("z",), "one unknown dim of `z`"),
        ("float[N,3] x | int64[2] s = {0,-1}", "y = Reshape(x, s)", ("x",), "solve the -1"),
        ("float[6] x, int64[2] s", "y = Reshape(x, s)", ("s",), "`s` is a network input"),
        ("float[6] x | int64[2] s = {2,3}", "y = ConstantOfShape(s)", ("s",), "becomes a layer"),
        (
            "float[9,7] x, int64[1] a, int64[1] b | int64[1] d = {1}",
            *("y = Slice(x, a, b, d)", ("a", "b"), "the size operands `a`, `b` are"),
        ),
    ],
)
def test_reason_names_what_made_the_node_opaque(
    inputs: str, body: str, via: tuple[str, ...], part: str
) -> None:
    seen = see(inputs, body)
    assert seen.reasons["y"].via == via
    assert part in seen.reasons["y"].text


def test_carried_over_unknown_dims_have_no_reason() -> None:
    seen = see("float[N,3] x, float[N,3] z", "a = Relu(x); y = Add(a, z)")
    assert seen.reasons == {}


def test_unsupported_operator_passes_a_loss_on() -> None:
    seen = see("float[2,3] x", "s = Shape(x); e = Expand(x, s); y = HardSwish(e)", opset=14)
    assert seen.shapes["y"] == (-1, -1)
    assert seen.reasons["y"].via == ("e",)
    assert [refusal.op for refusal in seen.refusals] == ["HardSwish"]


def test_misread_shape_that_fits_nowhere_falls_back_to_the_truth() -> None:
    seen = see(
        "float[1,6,4] x | int64[1] a = {2}, int64[2] s = {3,2}",
        "m = ReduceMean(x, a); r = Reshape(m, s); y = Relu(r)",
        opset=18,
    )
    assert seen.shapes == {"x": (1, 6, 4), "m": (1, 1, 1), "r": (3, 2), "y": (3, 2)}
    assert [refusal.op for refusal in seen.refusals] == ["ReduceMean", "Reshape"]


def test_tensor_of_unknown_rank_is_absent() -> None:
    seen = see("float[2,3] x, int64[K] s", "a = Reshape(x, s); y = Relu(a)")
    assert set(seen.shapes) == {"x", "s"}
    assert len(seen.refusals) == 2


def test_missing_optional_inputs_and_unnamed_nodes() -> None:
    seen = see("float[3] x | float m = {1.0}", "a = Clip(x, , m); y = HardSwish(a)", opset=14)
    assert seen.shapes["y"] == (3,)
    assert [refusal.node for refusal in seen.refusals] == ["y"]


def test_weights_are_not_read() -> None:
    model = build("float[1,3,5,5] x, float[4,3,3,3] w_k", "y = Conv(x, w_k)")
    kernel = model.ir.graph.initializers["w_k"]
    kernel.const_value = ir.ExternalTensor(
        "absent.bin", 0, 432, ir.DataType.FLOAT, shape=ir.Shape([4, 3, 3, 3]), name="w_k"
    )
    assert view(model, true_shapes(model), "7.1").shapes["y"] == (1, 4, 3, 3)


def test_unreadable_size_operand_falls_back_to_the_truth() -> None:
    model = build("float[2,6] x | int64[2] s = {3,4}", "y = Reshape(x, s)")
    true = true_shapes(model)
    model.ir.graph.initializers["s"].const_value = ir.ExternalTensor(
        "absent.bin", 0, 16, ir.DataType.INT64, shape=ir.Shape([2]), name="s"
    )
    seen = view(model, true, "7.1")
    assert seen.shapes["y"] == (3, 4)
    assert "a file that is not there" in seen.refusals[0].reason


def test_versions_without_a_model_are_refused() -> None:
    with pytest.raises(UsageError, match=r"6\.0") as caught:
        view(build("float[1] x", "y = Relu(x)"), {}, "6.0")
    assert "7.1" in (caught.value.hint or "")


def test_deep_graphs_need_no_recursion() -> None:
    count = 20_000
    current = source = ir.Value(
        name="x", shape=ir.Shape([1, 5]), type=ir.TensorType(ir.DataType.FLOAT)
    )
    nodes = []
    for index in range(count):
        node = ir.Node("", "Add", [current, source])
        node.outputs[0].name = f"t{index}"
        current = node.outputs[0]
        nodes.append(node)
    graph = ir.Graph([source], [current], nodes=nodes, opset_imports={"": 11})
    seen = view(Model(ir.Model(graph, ir_version=8)), {}, "7.1")
    assert len(seen.shapes) == count + 1
    assert seen.shapes[f"t{count - 1}"] == (1, 5)


@st.composite
def chains(draw: st.DrawFn) -> tuple[str, str]:
    """A chain of operators that are the identity, a permutation or a reshape of static dims."""
    dims = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    inputs, constants, lines, current = (
        f"float[{','.join(map(str, dims))}] x",
        ["float one = {1.0}"],
        [],
        "x",
    )
    for index in range(draw(st.integers(1, 8))):
        op = draw(st.sampled_from(["Relu", "Add", "Transpose", "Reshape", "Run", "Grow", "Sum"]))
        name, text = f"t{index}", ""
        if op == "Relu":
            text = f"Relu({current})"
        elif op == "Add":
            text = f"Add({current}, one)"
        elif op == "Transpose":
            order = draw(st.permutations(range(len(dims))))
            dims = [dims[axis] for axis in order]
            text = f"Transpose<perm={order}>({current})"
        elif op == "Reshape":
            target = draw(st.sampled_from([[-1], [0, -1], [1, -1], [*dims, 1], [math.prod(dims)]]))
            constants.append(f"int64[{len(target)}] s{index} = {{{','.join(map(str, target))}}}")
            text = f"Reshape({current}, s{index})"
            rest = [dims[0] if size == 0 else size for size in target]
            dims = [math.prod(dims) // abs(math.prod(rest)) if size < 0 else size for size in rest]
        elif op == "Run":
            lines.append(f"r{index} = Shape({current})")
            text = draw(st.sampled_from(["Reshape", "Expand"])) + f"({current}, r{index})"
        elif op == "Grow" and len(dims) < 6:
            axis = draw(st.integers(0, len(dims)))
            dims = [*dims[:axis], 1, *dims[axis:]]
            text = f"Unsqueeze<axes=[{axis}]>({current})"
        else:
            axis = draw(st.integers(0, len(dims) - 1))
            dims = [*dims[:axis], 1, *dims[axis + 1 :]]
            text = f"ReduceSum<axes=[{axis}]>({current})"
        lines.append(f"{name} = {text}")
        current = name
    lines.append(f"y = Identity({current})")
    return f"{inputs} | {', '.join(constants)}", ";".join(lines)


@settings(max_examples=150, deadline=None)
@given(chains(), st.sampled_from(("7.0", "7.1", "7.2")))
def test_no_size_contradicts_the_truth_where_nothing_is_refused(
    chain: tuple[str, str], version: str
) -> None:
    model = build(*chain)
    true = true_shapes(model)
    seen = view(model, true, version)
    assert seen.refusals == ()
    for name, shape in seen.shapes.items():
        assert len(shape) == len(true[name] or ())
        assert all(size in (-1, dim) for size, dim in zip(shape, true[name] or (), strict=True))
        if -1 in shape and name not in seen.reasons:
            producer = next(
                v for n in model.ir.graph for v in n.outputs if v.name == name
            ).producer()
            assert producer is not None
            assert any(-1 in seen.shapes[v.name or ""] for v in producer.inputs if v is not None)
