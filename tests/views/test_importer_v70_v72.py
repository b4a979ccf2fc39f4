"""What TensorRT 7.0 and 7.2 do otherwise than 7.1, and what all three have in common."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import onnx_ir as ir
import pytest

from tests.helpers.paths import SHARED
from tests.views.test_importer_v7 import SEED, SEED_INPUTS, SEED_SHAPES, build, see
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.table import ViewShape
from tripoint.views.importer import operators
from tripoint.views.importers import SUPPORTED, view

FACTS = SHARED / "importer"
ALL = ("7.0", "7.1", "7.2")
needs_shared = pytest.mark.skipif(not FACTS.exists(), reason="no importer facts beside the project")

FLOOR = 'nearest_mode="floor", coordinate_transformation_mode="asymmetric"'


# Operator tables


@needs_shared
def test_packaged_operator_table_is_the_shared_one() -> None:
    shared = json.loads((FACTS / "operators.json").read_text())
    opsets = shared.pop("_meta")["max_opset"]
    names = {"7.2.1": "7.2"} | {name: name.removesuffix("-GA") for name in shared if "-" in name}
    facts = tuple(names.get(name, name) for name in shared)
    assert operators.versions()[: len(facts)] == facts
    logged = {"FP32": "FLOAT", "FP16": "HALF", "INF64": "INT64"}  # INF64 is a slip of the table
    for name, table in shared.items():
        version = names.get(name, name)
        assert operators.newest_opset(version) == opsets[name]
        for op, row in table.items():
            if " " in op:  # a slip of the table, of an operator that has its own row
                continue
            found = operators.support(version, op)
            assert found is not None
            assert found.supported == row["registered"], (version, op)
            types = " ".join(row["types"]).split()
            assert found.types == tuple(logged.get(kind, kind) for kind in types)
            assert found.restrictions == row["restrictions"]
            if found.supported:
                assert found.listed == row["supported"]
        for op in set(operators.mentioned()) - set(table):
            found = operators.support(version, op)
            assert found is not None
            assert not found.supported


def test_support_says_since_when() -> None:
    found = operators.support("7.1", "NonZero")
    assert found == operators.Support(False, False, (), "", "8.5")
    assert operators.support("8.0", "Relu") == operators.Support(
        True, True, ("FLOAT", "HALF", "INT8"), "", "7.0"
    )
    assert operators.support("7.1", "If") == operators.Support(True, False, (), "", "7.1")
    assert operators.support("10.1", "StringSplit") == operators.Support(False, False, (), "", None)
    assert operators.support("10.1", "Relo") is None
    with pytest.raises(KeyError):
        operators.support("9.9", "Relu")


@pytest.mark.parametrize(
    ("version", "op", "expected"),
    [
        (
            "7.0",
            "IsNaN",
            "has no importer for IsNaN (`No importer registered for op: IsNaN`); "
            "TensorRT 8.2 and later have one",
        ),
        (
            "7.2",
            "Col2Im",
            "has no importer for Col2Im and looks for a plugin of that name "
            f"(`No importer registered for op: Col2Im`); no version up to {SUPPORTED[-1]} has one",
        ),
        (
            "7.1",
            "MyOperator",
            "has no importer for MyOperator and looks for a plugin of that name (`No importer "
            "registered for op: MyOperator`); "
            f"no version up to {SUPPORTED[-1]} knows such an operator",
        ),
    ],
)
def test_refusal_says_which_version_has_the_importer(version: str, op: str, expected: str) -> None:
    (refusal,) = see("float[2,3] x", f"y = {op}(x)", version=version).refusals
    assert refusal.reason == f"TensorRT {version} {expected}"


# Public logs

LOGS: Mapping[str, tuple[str, str, str, dict[str, ViewShape]]] = {
    # file: (version, inputs, nodes, shapes by tensor name; `t24` is the tensor 24 of the log)
    "01_trt713_eca_blog": ("7.1", SEED_INPUTS, SEED, SEED_SHAPES),
    "03_trt7_vs_trt80_same_model": (
        "7.2",
        "float[2,3,4] x | int64[2] i = {1,0}",
        "a = Shape(x); s = Gather(a, i); t = ReduceMean<axes=[2], keepdims=0>(x);"
        "t24 = Reshape(t, s); t25 = Transpose<perm=[1,0]>(t24); y = Relu(t25)",
        {"t24": (-1, -1), "t25": (-1, -1)},
    ),
    "05_trt70_resize_const_sizes": (
        "7.0",
        "float[1,3,4,4] x | float[0] r = {}, float[0] c = {}, int64[4] s = {1,3,8,8}",
        f"y = Resize<{FLOOR}>(x, r, c, s)",
        {"y": (-1, -1, -1, -1)},
    ),
    "08_trt72_dynamic_mask": (
        "7.2",
        "int32[1,S,1539] x, float[1,S,1] t23 | int32 p = {0}",
        "t10 = Equal(x, p); t11 = Not(t10); t24 = Transpose<perm=[0,2,1]>(t23); y = Relu(t24)",
        {"t10": (1, -1, 1539), "t11": (1, -1, 1539), "t23": (1, -1, 1), "t24": (1, 1, -1)},
    ),
    "15_trt7_yolov6_suffix": (
        "7.0",
        "float[1,1,20,20,85] t411, float[1,6400,85] t302, float[1,1600,85] t360"
        " | int64[3] t467 = {1,-1,85}",
        "t418 = Reshape(t411, t467); outputs = Concat<axis=1>(t302, t360, t418);y = Relu(outputs)",
        {
            "t411": (1, 1, 20, 20, 85),
            "t302": (1, 6400, 85),
            "t360": (1, 1600, 85),
            "t418": (1, 400, 85),
            "outputs": (1, 8400, 85),
        },
    ),
}
NAMES: Mapping[str, Mapping[str, str]] = {
    "01_trt713_eca_blog": {
        "input.1": "x",
        **{str(4 + place): name for place, name in enumerate(list(SEED_SHAPES)[1:])},
    },
    "05_trt70_resize_const_sizes": {"?": "y"},
}
"""Our name by the name in the log, where it is not the same behind a `t`."""


@pytest.mark.parametrize("log", LOGS)
def test_public_log_is_replayed(log: str) -> None:
    version, inputs, body, expected = LOGS[log]
    seen = see(inputs, body, version=version)
    assert {name: seen.shapes[name] for name in expected} == expected
    assert seen.refusals == ()


@needs_shared
@pytest.mark.parametrize("log", LOGS)
def test_replay_has_all_that_the_log_shows(log: str) -> None:
    recorded = json.loads((FACTS / "logs" / f"{log}.json").read_text())
    _, _, _, expected = LOGS[log]
    printed = [pair for node in recorded["nodes"] for pair in [*node["inputs"], *node["outputs"]]]
    shown = [(name, dims) for name, dims, *constant in printed if dims and not constant]
    assert shown
    for name, dims in shown:
        ours = NAMES.get(log, {}).get(name, name)
        assert expected.get(ours, expected.get(f"t{ours}")) == tuple(dims), name


def test_reshape_without_solution_is_no_matter_of_the_parser() -> None:
    """Public log 22: 7.0 reports it when the engine is built, not when the model is parsed."""
    seen = see(
        "float[N,9,H,W] x | int64[6] s = {-1,2,3,3,4,4}",
        *("y = Reshape(x, s)", 11, "7.0"),
    )
    assert seen.shapes["y"] == (-1, 2, 3, 3, 4, 4)
    assert seen.refusals == ()


# What all three print

COMMON = [
    # sizes that are computed
    (
        "float[1,3,8,8] x | float[0] r = {}, int64[2] m = {16,16}",
        "s = Shape(x); a = Constant<value = int64[1] {0}>(); b = Constant<value = int64[1] {2}>();"
        f"f = Slice(s, a, b); z = Concat<axis=0>(f, m); y = Resize<{FLOOR}>(x, r, r, z)",
        {"s": (4,), "f": (2,), "z": (4,), "y": (-1, -1, -1, -1)},
    ),
    (
        "float[2,3,4] x | int64 i = {0}, int64[1] m = {-1}",
        "s = Shape(x); g = Gather(s, i); u = Unsqueeze<axes=[0]>(g);"
        "c = Concat<axis=0>(u, m); y = Reshape(x, c)",
        {"g": (), "u": (1,), "c": (2,), "y": (-1, -1)},
    ),
    (
        "float[N,768] x | int64 i = {0}",
        "s = Shape(x); n = Gather(s, i); u = Unsqueeze<axes=[0]>(n); z = ConstantOfShape(u);"
        "y = Identity(z)",
        {"n": (), "u": (1,), "z": (-1,)},
    ),
    ("float[2,3] x | int64[2] r = {2,2}", "t = Identity(r); y = Tile(x, t)", {"y": (-1, -1)}),
    (
        "float[5] x | int64 a = {0}, int64 d = {1}, int64[1] k = {5}",
        "n = Size(x); r = Range(a, n, d); y = Cast<to=1>(r)",
        {"n": (), "r": (-1,)},
    ),
    # transformers
    (
        "float[N,S,768] x | int64[4] s = {0,0,12,64}",
        "q = Reshape(x, s); t = Transpose<perm=[0,2,1,3]>(q); k = Transpose<perm=[0,2,3,1]>(q);"
        "w = MatMul(t, k); y = Softmax<axis=3>(w)",
        {
            "q": (-1, -1, 12, 64),
            "t": (-1, 12, -1, 64),
            "w": (-1, 12, -1, -1),
            "y": (-1, -1, -1, -1),
        },
    ),
    (
        "float[N,S,768] x, float[768] w_a | float two = {2.0}, float eps = {0.1}",
        "m = ReduceMean<axes=[-1]>(x); d = Sub(x, m); p = Pow(d, two);"
        "v = ReduceMean<axes=[-1]>(p); e = Add(v, eps); q = Sqrt(e); n = Div(d, q);"
        "y = Mul(n, w_a)",
        {"m": (-1, -1, 1), "d": (-1, -1, 768), "q": (-1, -1, 1), "y": (-1, -1, 768)},
    ),
    ("int64[N,S] x, float[30522,768] w_e", "y = Gather(w_e, x)", {"y": (-1, -1, 768)}),
    (
        "float[N,S] x | float one = {1.0}",
        "u = Unsqueeze<axes=[1,2]>(x); y = Sub(one, u)",
        {"u": (-1, -1, -1, -1), "y": (-1, -1, -1, -1)},
    ),
    ("float[1,S] x", "y = Unsqueeze<axes=[1,2]>(x)", {"y": (-1, -1, -1, -1)}),
    ("float[N,4,5] x, float[5,6] w_k", "y = MatMul(x, w_k)", {"y": (-1, 4, 6)}),
    ("float[N,4,5] x, float[5,S] z", "y = MatMul(x, z)", {"y": (-1, 4, -1)}),
    # detectors
    (
        "float[N,3,8,8] x | float[4] s = {1.0,1.0,2.0,2.0}",
        "y = Upsample(x, s)",
        {"y": (-1, 3, 16, 16)},
        9,
    ),
    ("float[N,3,8,8] x", "y = Upsample<scales=[1.0,1.0,2.0,2.0]>(x)", {"y": (-1, 3, 16, 16)}, 7),
    (
        "float[N,6,8,8] x",
        "a, b = Split<axis=1, split=[2,4]>(x); c = Sigmoid(a); d = Exp(b);y = Concat<axis=1>(c, d)",
        {"a": (-1,) * 4, "b": (-1,) * 4, "y": (-1,) * 4},
    ),
    (
        "float[N,6,8,8] x | int64[3] s = {0,6,-1}",
        "r = Reshape(x, s); t = Transpose<perm=[0,2,1]>(r); v = ReduceMax<axes=[2], keepdims=0>(t);"
        "k = Constant<value = int64[1] {5}>(); y, i = TopK<axis=1>(v, k)",
        {"r": (-1, 6, -1), "t": (-1, -1, 6), "v": (-1, -1), "y": (-1, 5), "i": (-1, 5)},
    ),
    (
        "float[N,6,8,8] x | int64[1] a = {0}, int64[1] b = {3}, int64[1] d = {1}",
        "y = Slice(x, a, b, d)",
        {"y": (-1, -1, -1, -1)},
    ),
    ("float[N,3,H,8] x", "y = Pad<pads=[0,0,1,1,0,0,1,1]>(x)", {"y": (-1, 3, -1, 10)}, 10),
    ("bool[N,1] c, float[N,5] x, float[5] z", "y = Where(c, x, z)", {"y": (-1, 5)}),
    ("bool[5] c, float[N,5] x, float[N,5] z", "y = Where(c, x, z)", {"y": (-1, 5)}),
    (
        "bool[S] c, float[N,5] x, float[N,5] z",
        "y = Where(c, x, z)",
        {"y": (-1, 5)},
    ),
    # images and sound
    (
        "float[N,64,7,7] x, float[10,64] w_k, float[10] w_b",
        "p = GlobalAveragePool(x); y = Flatten(p)",
        {"p": (-1, 64, 1, 1), "y": (-1, -1)},
    ),
    ("float[1,64,S] x, float[32,64,3] w_k", "y = Conv<pads=[1,1]>(x, w_k)", {"y": (-1, -1, -1)}),
    ("float[1,64,50] x, float[32,64,3] w_k", "y = Conv<pads=[1,1]>(x, w_k)", {"y": (1, 32, 50)}),
    ("float[N,64] x", "y = Softmax(x)", {"y": (-1, -1)}),
    ("float[2,3,4] x", "y = Softmax<axis=2>(x)", {"y": (2, 3, 4)}),
    (
        "float[S,1,3] x, float[1,16,3] w_a, float[1,16,4] w_r, float[1,32] w_b",
        "o, h, c = LSTM<hidden_size=4>(x, w_a, w_r, w_b); s = Squeeze<axes=[1]>(o);"
        "y = Transpose<perm=[1,0,2]>(s)",
        {"o": (-1,) * 4, "h": (-1,) * 3, "c": (-1,) * 3, "s": (-1,) * 3, "y": (-1,) * 3},
    ),
    (
        "float[7,2,3] x, float[1,2,4] h0, float[1,2,4] c0, float[1,16,3] w_a, float[1,16,4] w_r",
        "o, h, c = LSTM<hidden_size=4>(x, w_a, w_r, , , h0, c0); y = Relu(h)",
        {"o": (-1, -1, 2, 4), "h": (1, 2, 4), "c": (1, 2, 4), "y": (1, 2, 4)},
    ),
    (
        "float[7,2,3] x, float[2,16,3] w_a, float[2,16,4] w_r",
        'o, h, c = LSTM<hidden_size=4, direction="bidirectional">(x, w_a, w_r); y = Relu(o)',
        {"o": (-1,) * 4, "h": (-1,) * 3},
    ),
    (
        "float[7,2,3] x, float[1,12,3] w_a, float[1,12,4] w_r",
        "o, h = GRU<hidden_size=4>(x, w_a, w_r); y = Relu(o)",
        {"o": (-1, -1, 2, 4), "h": (-1,) * 3},
    ),
    (
        "float[S,N,3] x, float[1,4,3] w_a, float[1,4,4] w_r",
        "o, h = RNN<hidden_size=4>(x, w_a, w_r); y = Relu(o)",
        {"o": (-1, -1, -1, 4), "h": (-1,) * 3},
    ),
]


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("case", COMMON, ids=lambda case: case[1])
def test_same_in_all_versions(
    case: tuple[str, str, dict[str, ViewShape], int], version: str
) -> None:
    inputs, body, expected, *opset = case
    seen = see(inputs, body, (opset or (11,))[0], version)
    assert {name: seen.shapes[name] for name in expected} == expected
    assert seen.refusals == ()


# Where they differ

DIFFERENT = [
    # (inputs, nodes, shape of y in 7.0, 7.1 and 7.2)
    ("float[N,1,3] x", "y = Squeeze<axes=[0]>(x)", (-1, -1), (1, 3), (1, 3)),
    ("float[1,N,3] x", "y = Squeeze<axes=[0]>(x)", (-1, -1), (-1, -1), (-1, -1)),
    ("float[1,2,3] x", "y = Squeeze<axes=[0]>(x)", (2, 3), (2, 3), (2, 3)),
    ("float[N] x", "y = ArgMax(x)", (-1,), (1,), (1,)),
    ("float[N] x", "y = ArgMax<keepdims=0>(x)", (), (), ()),
    ("float[N,5] x", "y = ArgMin<axis=0, keepdims=0>(x)", (5,), (5,), (5,)),
    ("float[N] x | int64[1] k = {3}", "y, i = TopK(x, k)", (-1,), (3,), (3,)),
    ("float[9] x | int64[1] k = {3}", "y, i = TopK(x, k)", (3,), (3,), (3,)),
    ("float[N,5] x, float[5,6] w_k", "y = MatMul(x, w_k)", (-1, 6), (-1, -1), (-1, -1)),
    ("float[4,5] x, float[5,6] w_k", "y = MatMul(x, w_k)", (4, 6), (4, 6), (4, 6)),
    (
        "float[N,5] x, float[6,5] w_k, float[6] w_b",
        *("y = Gemm<transB=1>(x, w_k, w_b)", (-1, 6), (-1, 6), (-1, -1)),
    ),
    (
        "float[N,5] x, float[6,5] w_k, float[6] w_b",
        *("y = Gemm<transB=1, alpha=0.5>(x, w_k, w_b)", (-1, 6), (-1, 6), (-1, 6)),
    ),
    (
        "float[N,5] x, float[5,6] w_k, float[6] b",
        *("y = Gemm(x, w_k, b)", (-1, 6), (-1, 6), (-1, 6)),
    ),
    (
        "float[N,8,2,3] x",
        *("y = DepthToSpace<blocksize=2>(x)", (-1, 2, 4, 6), (-1,) * 4, (-1,) * 4),
    ),
    ("float[2,8,H,3] x", "y = DepthToSpace<blocksize=2>(x)", (-1,) * 4, (-1,) * 4, (-1,) * 4),
    ("float[N,8,2,4] x", "y = SpaceToDepth<blocksize=2>(x)", (-1,) * 4, (-1,) * 4, (-1,) * 4),
]


@pytest.mark.parametrize("case", DIFFERENT, ids=lambda case: case[:2])
def test_shape_in_each_version(
    case: tuple[str, str, ViewShape, ViewShape, ViewShape],
) -> None:
    inputs, body, *expected = case
    for version, shape in zip(ALL, expected, strict=True):
        seen = see(inputs, body, version=version)
        assert seen.shapes["y"] == shape, version
        assert seen.refusals == ()


SIZES = "float[1,2,2,2] x | float[0] r = {}, int64[4] s = {1,2,4,4}"
SCALES = "float[1,2,2,2] x | float[0] r = {}, float[4] s = {1.0,1.0,2.0,2.0}"
REFUSED = [
    # (inputs, nodes, opset, versions that refuse, part of the reason)
    (
        "float[1,3,7,7] x, float[5,3,3,3] k",
        *("y = Conv<kernel_shape=[3,3]>(x, k)", 11, ("7.2",), "the kernel of Conv only"),
    ),
    (
        "float[N,3,4,4] x, float[3] w_s",
        *("y = InstanceNormalization(x, w_s, w_s)", 11, ("7.0", "7.1"), "(-1, 3, 4, 4)"),
    ),
    (
        "float[1,3,4,4,4] x, float[3] w_s",
        *("y = InstanceNormalization(x, w_s, w_s)", 11, ("7.2",), "(1, 3, 4, 4, 4)"),
    ),
    (
        "float[1,3,4] x | int64[6] p = {0,0,1,0,0,1}",
        *("y = Pad(x, p)", 11, ("7.0",), "no tensor of a rank below 4"),
    ),
    (
        "float[1,3,8,8] x, float[3,5,3,3] w_k",
        *("y = ConvTranspose<dilations=[2,2]>(x, w_k)", 11, ("7.0",), "no dilated ConvTranspose"),
    ),
    (
        "float[4,5] x, float[5,6] w_k",
        *("y = Gemm(x, w_k)", 11, ALL, "a bias of Gemm that is not there"),
    ),
    (
        "float[5,4] x, float[5,6] w_k, float[6] w_b",
        *("y = Gemm<transA=1>(x, w_k, w_b)", 11, ("7.2",), "forgets transA"),
    ),
    (
        "float[1,3,8,8] x",
        "y = AveragePool<kernel_shape=[2,2], pads=[1,1,0,0]>(x)",
        *(11, ALL, "padded unevenly"),
    ),
    (
        "float[1,3,8,8] x",
        "y = AveragePool<kernel_shape=[2,2], pads=[0,0,1,1]>(x)",
        *(11, (), ""),
    ),
    (SIZES, f'y = Resize<mode="nearest", {FLOOR}>(x, r, r, s)', 11, (), ""),
    (
        SIZES,
        'y = Resize<mode="nearest", nearest_mode="floor">(x, r, r, s)',
        *(11, ("7.0", "7.2"), "nearest Resize with half_pixel"),
    ),
    (SIZES, 'y = Resize<mode="linear">(x, r, r, s)', 11, ("7.0",), "linear Resize"),
    (
        SIZES,
        'y = Resize<mode="linear", coordinate_transformation_mode="asymmetric">(x, r, r, s)',
        *(11, ("7.2",), "linear Resize with asymmetric"),
    ),
    (
        SCALES,
        'y = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, r, s)',
        *(11, ("7.0", "7.2"), "linear Resize with align_corners"),
    ),
    (SCALES, 'y = Resize<mode="cubic">(x, r, s)', 11, ALL, "cubic Resize"),
    (SCALES, 'y = Resize<mode="linear">(x, s)', 10, (), ""),
    (
        "float[1,2,1,2] x | float[0] r = {}, float[4] s = {1.0,1.0,1.0,2.0}",
        'y = Resize<mode="linear", coordinate_transformation_mode="pytorch_half_pixel">(x, r, s)',
        *(11, ALL, "pytorch_half_pixel"),
    ),
    ("float[0,3] x | int64[2] s = {1,3}", "y = Expand(x, s)", 11, ("7.0",), "silently gives"),
    ("float[1] x", "y = Constant<value = float[1] {1.0}>()", 11, ("7.0", "7.1"), "no constant for"),
    ("float[10] x", "y, z, u = Split<num_outputs=3>(x)", 18, ALL, "silently gives"),
    (
        "float[2,7,3] x, float[1,16,3] w_a, float[1,16,4] w_r",
        *("y = LSTM<hidden_size=4, layout=1>(x, w_a, w_r)", 14, ALL, "`layout` of LSTM"),
    ),
    (
        "float[2,7,3] x, float[1,16,3] w_a, float[1,16,4] w_r",
        *("y = LSTM<hidden_size=4, layout=0>(x, w_a, w_r)", 14, (), ""),
    ),
    ("float[?,3] x", "y = Relu(x)", 11, ALL, "without a size or a name as 0"),
    ("float[1,5,3] x | int64[1] a = {2}", "y = ReduceMean(x, a)", 18, ALL, "silently ignores"),
    ("float[9,4] x | int64[2] s = {2,7}", "y, z = Split(x, s)", 13, ALL, "splits equally"),
    ("float[2,3,4] x", "y = Softmax<axis=1>(x)", 13, ALL, "before opset 13"),
    ("float[2,3] x", "y = Flatten<axis=0>(x)", 11, ALL, "silently returns"),
    ("float[9] x | int64[1] i = {-1}", "y = Gather(x, i)", 11, ALL, "negative index"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[:2])
def test_refused_by_some_versions(case: tuple[str, str, int, tuple[str, ...], str]) -> None:
    inputs, body, opset, refusing, part = case
    for version in ALL:
        reasons = [refusal.reason for refusal in see(inputs, body, opset, version).refusals]
        assert bool(reasons) == (version in refusing), (version, reasons)
        assert all(part in reason for reason in reasons)
        assert all(reason.startswith(f"TensorRT {version} ") for reason in reasons)


def test_70_expands_a_dim_of_0() -> None:
    inputs, body = "float[0,3] x | int64[2] s = {1,3}", "y = Expand(x, s)"
    assert see(inputs, body, version="7.0").shapes["y"] == (1, 3)
    assert see(inputs, body, version="7.2").shapes["y"] == (0, 3)


# Nested graphs

IF = """
y = If (c) <then_branch = t () => (float[2,3] a) { a = Relu(x) },
            else_branch = e () => (float[2,3] b) { s = Shape(x)
                                                   b = Expand(x, s) }>
"""


def test_if_imports_the_branch_that_a_constant_chooses() -> None:
    taken = see("float[2,3] x | bool c = {1}", IF)
    assert taken.shapes == {"x": (2, 3), "a": (2, 3), "y": (2, 3)}
    assert taken.refusals == ()
    other = see("float[2,3] x | bool c = {0}", IF, version="7.2")
    assert other.shapes == {"x": (2, 3), "s": (2,), "b": (-1, -1), "y": (-1, -1)}


@pytest.mark.parametrize(
    ("version", "inputs", "part"),
    [
        ("7.0", "float[2,3] x | bool c = {1}", "no importer for If"),
        ("7.1", "float[2,3] x, bool c", "condition of If only as a constant"),
    ],
)
def test_refused_if_shows_both_branches(version: str, inputs: str, part: str) -> None:
    seen = see(inputs, IF, version=version)
    assert part in seen.refusals[0].reason
    assert seen.shapes["a"] == (2, 3)
    assert seen.shapes["b"] == (-1, -1)
    assert seen.shapes["y"] == (-1, -1)  # one branch has lost it
    assert seen.reasons["y"].via == ("b",)


def test_weights_of_a_branch_stay_weights() -> None:
    body = """
    s = If (c) <then_branch = t () => (int64[2] a) <int64[2] a = {3,2}> { },
                else_branch = e () => (int64[2] b) <int64[2] b = {6,1}> { }>
    y = Reshape(x, s)
    """
    assert see("float[2,3] x | bool c = {1}", body).shapes["y"] == (3, 2)


def test_nested_initializers_keep_to_their_graph() -> None:
    body = """
    a = Reshape(x, s)
    y = If (c) <then_branch = t () => (float[1,6] b) <int64[2] s = {1,6}> { b = Reshape(x, s) },
                else_branch = e () => (float[2,3] d) { d = Relu(x) }>
    z = Reshape(x, s)
    """
    seen = see("float[2,3] x | bool c = {1}, int64[2] s = {3,2}", body)
    assert (seen.shapes["a"], seen.shapes["y"], seen.shapes["z"]) == ((3, 2), (1, 6), (3, 2))


def test_names_that_graphs_share_are_told_apart() -> None:
    body = """
    a = Neg(x)
    y = If (c) <then_branch = t () => (float[1,6] b) <int64[2] s = {1,6}> { b = Reshape(x, s) },
                else_branch = e () => (float[2,3] b) { b = Relu(a) }>
    z = If (d) <then_branch = t () => (float[3,2] b) <int64[2] s = {3,2}> { b = Reshape(y, s) },
                else_branch = e () => (float[2,3] b) { b = Relu(a) }>
    """
    model = build("float[2,3] x | bool c = {1}, bool d = {1}", body)
    true = truth.infer(model.ir).shapes
    seen = view(model, true, "7.1")
    assert (seen.shapes["y"], seen.shapes["z"]) == ((1, 6), (3, 2))
    nested = {name: shape for name, shape in seen.shapes.items() if name not in "xayz"}
    assert sorted(nested.values()) == [(1, 6), (3, 2)]
    assert set(nested) <= set(true)


LOOP = """
s, y = Loop (n, c, x) <
    body = b (int64 i, bool p, float[2] a) => (bool q, float[2] d, float[2] f)
    {{ q = Identity(p)
      d = Relu(a)
      {counted}
      f = Neg(a) }}>
"""


@pytest.mark.parametrize("version", ALL)
def test_scan_outputs_of_a_loop_have_unknown_length(version: str) -> None:
    seen = see("float[2] x | int64 n = {3}, bool c = {1}", LOOP.format(counted=""), version=version)
    assert (seen.shapes["s"], seen.shapes["y"]) == ((2,), (-1, 2))
    assert (seen.shapes["d"], seen.shapes["f"], seen.shapes["q"]) == ((2,), (2,), ())
    assert set(seen.reasons) == {"y"}
    assert "the length of the scan output `y` is a tensor" in seen.reasons["y"].text
    assert seen.refusals == ()


@pytest.mark.parametrize(
    ("version", "shape", "part"),
    [
        ("7.0", (), "silently gives the body of a Loop the trip count"),
        ("7.1", (), "gives the body of a Loop no iteration number"),
        ("7.2", (1,), "silently gives the body of a Loop an iteration number of shape (1,)"),
    ],
)
def test_iteration_number(version: str, shape: ViewShape, part: str) -> None:
    body = LOOP.format(counted="j = Cast<to=6>(i)")
    seen = see("float[2] x | int64 n = {3}, bool c = {1}", body, version=version)
    assert seen.shapes["j"] == shape
    (refusal,) = seen.refusals
    assert part in refusal.reason


def test_loop_without_a_state() -> None:
    body = """
    y = Loop (n, c) <
        body = b (int64 i, bool p) => (bool q, float[3] f)
        { q = Identity(p)
          f = Relu(x) }>
    """
    inputs = "float[3] x | int64 n = {3}, bool c = {1}"
    assert see(inputs, body, version="7.0").refusals == ()
    for version in ("7.1", "7.2"):
        seen = see(inputs, body, version=version)
        assert seen.shapes["y"] == (-1, 3)
        assert "no Loop that carries no state" in seen.refusals[0].reason


@pytest.mark.parametrize("version", ALL)
def test_scan_cuts_an_axis_and_adds_an_unknown_one(version: str) -> None:
    body = """
    h, y = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],
        body = b (float[4] state, float[4] part) => (float[4] next, float[4] out)
        { next = Add(state, part)
          out = Relu(next) }> (x, z)
    """
    seen = see("float[4] x, float[4,T] z", body, version=version)
    assert (seen.shapes["part"], seen.shapes["h"], seen.shapes["y"]) == ((4,), (4,), (4, -1))
    assert seen.refusals == ()


def test_scan_counts_axes_from_the_front() -> None:
    body = """
    h, y = Scan <num_scan_inputs = 1, scan_input_axes = [-1],
        body = b (float[4] state, float[4] part) => (float[4] next, float[4] out)
        { next = Add(state, part)
          out = Relu(next) }> (x, z)
    """
    seen = see("float[4] x, float[4,7] z", body)
    assert "axes counted from the front" in seen.refusals[0].reason
    assert (seen.shapes["h"], seen.shapes["next"]) == ((4,), (4,))


# Hostile models

HOSTILE = [
    ("float[1,3,8,8] x, float[5,3,3,3] w_k", "y = Conv<strides=[0,0]>(x, w_k)"),
    ("float[1,3,8,8] x, float[5,3,3,3] w_k", "y = Conv<kernel_shape=7>(x, w_k)"),
    ("float[1,3,8,8] x, float[3,5,3,3] w_k", "y = ConvTranspose<output_shape=[9]>(x, w_k)"),
    ("float[1,8,2,3] x", "y = DepthToSpace<blocksize=0>(x)"),
    ("float[1,8,2,3] x", "y = SpaceToDepth<blocksize=0>(x)"),
    ("float[1,8,2,3] x", 'y = Transpose<perm="abc">(x)'),
    ("float[2,3] x", "y = Cast<to=999>(x)"),
    ("float[2,3] x", "y = Cast(x)"),
    ("float[2,3] x", "y = Concat<axis=0.5>(x, x)"),
    ("float[2,3] x", "y = Loop()"),
    ("float[2,3] x", "y = Scan<num_scan_inputs=5>(x)"),
    ("float[2,3] x", "y = If(x)"),
    ("float[2,3] x", "y = LSTM(x)"),
    ("float[2,3] x", "y = Gemm(x)"),
    ("float[2,3] x", "y = Reshape(x)"),
    ("float[2,3] x, int64[1000000000] s", "y = Expand(x, s)"),
    ("float[2,3] x, int64[9] s", "y = ConstantOfShape(s)"),
    ("float[1,2,2,2] x | float[2] s = {1.0,2.0}", "y = Upsample(x, s)"),
    ("float[2,3,4] x, float[1,16,4] w_a, float[7] h", "y = GRU(x, w_a, w_a, , , h)"),
    ('float[2,3] x | string[1] s = {"a"}', "y = Reshape(x, s)"),
]


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case[1])
def test_malformed_nodes_are_refused(case: tuple[str, str], version: str) -> None:
    model = build(*case)
    seen = view(model, {}, version)
    assert "Traceback" not in str(seen.refusals)
    assert seen.refusals
    assert seen.shapes["x"]


@pytest.mark.parametrize("scale", [math.inf, math.nan, -1.0, 1e30])
def test_odd_scales(scale: float) -> None:
    model = build("float[1,2,2,2] x | float[4] s = {1.0,1.0,2.0,2.0}", "y = Upsample(x, s)", 9)
    tensor = ir.tensor([1.0, 1.0, scale, scale], name="s")
    model.ir.graph.initializers["s"].const_value = tensor
    assert view(model, {}, "7.1").shapes["x"] == (1, 2, 2, 2)


def test_graphs_in_graphs_are_followed_to_a_limit() -> None:
    """The limit is far above what a file can hold; a model in memory can exceed it."""
    source = ir.Value(name="x", shape=ir.Shape([2]), type=ir.TensorType(ir.DataType.FLOAT))
    innermost = ir.Node("", "Relu", [source])
    graph = ir.Graph([], innermost.outputs, nodes=[innermost])
    for level in range(80):
        node = ir.Node("", "Unknown", [], [ir.AttrGraph("body", graph)])
        node.outputs[0].name = f"t{level}"
        graph = ir.Graph([], node.outputs, nodes=[node])
    node = ir.Node("", "Identity", [source])
    node.outputs[0].name = "y"
    nodes = [*graph, node]
    graph.remove(nodes[:-1])
    main = ir.Graph([source], node.outputs, nodes=nodes, opset_imports={"": 11})
    seen = view(Model(ir.Model(main, ir_version=8)), {}, "7.1")
    assert seen.shapes == {"x": (2,), "y": (2,)}
    assert len(seen.refusals) <= 80
