"""What each TensorRT version does with each attribute of each operator."""

from __future__ import annotations

import onnx
import pytest

from tests.helpers.graphs import build
from tripoint.shape_inference import truth
from tripoint.views.importer import attributes, operators
from tripoint.views.importers import SUPPORTED, view

SCHEMAS = [s for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""]


@pytest.mark.parametrize("version", SUPPORTED)
def test_no_attribute_of_any_operator_is_unclassified(version: str) -> None:
    unknown = {
        f"{schema.name}.{attribute}"
        for schema in SCHEMAS
        for attribute in schema.attributes
        if attributes.treatment(version, schema.name, attribute) is None
    }
    assert unknown == set(), "add rows to src/tripoint/views/importer/attributes.json"


@pytest.mark.parametrize("version", SUPPORTED)
def test_each_has_a_source_and_what_is_ignored_has_a_consequence(version: str) -> None:
    for schema in SCHEMAS:
        for name in schema.attributes:
            found = attributes.treatment(version, schema.name, name)
            assert found is not None
            assert found.source
            if found.does == "ignored":
                assert bool(found.effect) != bool(found.harmless), (schema.name, name)
            else:
                assert not found.harmless
            if found.does == "refused":
                assert found.source.startswith(("release/", "the version has no importer"))


@pytest.mark.skipif(
    onnx.defs.onnx_opset_version() < 28, reason="this onnx is older than opset 28 of the table"
)
def test_the_table_names_only_what_there_is() -> None:
    there = {(schema.name, name) for schema in SCHEMAS for name in schema.attributes}
    assert {(op, name) for op, names in attributes.table().items() for name in names} <= there
    assert set(attributes.table()) <= set(operators.mentioned())
    for names in attributes.table().values():
        for rows in names.values():
            since = [(*SUPPORTED, attributes.INSTALLED).index(row["from"]) for row in rows]
            assert since == sorted(set(since))


# Inputs, node, opset; then from each version on a part of what is said, or "" for nothing.
CASES: list[tuple[str, str, int, dict[str, str]]] = [
    (
        "float[N,3] x, int64[2,1] j, float[2,3] u",
        *('y = ScatterND<reduction="none">(x, j, u)', 16),
        {"8.2": "", "10.0": "refuses the attribute `reduction` of ScatterND whatever"},
    ),
    (
        "float[N,3] x, int64[2,1] j, float[2,3] u",
        *('y = ScatterND<reduction="add">(x, j, u)', 16),
        {"8.2": "ignores `reduction` of ScatterND: elements are", "10.0": "refuses"},
    ),
    (
        "float[N,3] x, int64[2,1] j, float[2,3] u",
        *("y = ScatterND(x, j, u)", 16, {"8.2": ""}),
    ),
    ("float[N,3] x, float s", "y = QuantizeLinear<output_dtype=3>(x, s)", 21, {"8.0": ""}),
    (
        "float[N,3] x, float s",
        *("y = QuantizeLinear<output_dtype=17>(x, s)", 21),
        {"8.0": "the result is int8", "10.0": ""},
    ),
    (
        "float[N,3] x, int64[2,3] j, float[2,3] u",
        *('y = ScatterElements<reduction="mul">(x, j, u)', 16),
        {"8.2": "ignores `reduction` of ScatterElements", "10.0": ""},
    ),
    (
        "float[N,3] x, int64[2,3] j, float[2,3] u",
        *('y = ScatterElements<reduction="none">(x, j, u)', 16, {"8.2": ""}),
    ),
    (
        "float[N,3,4] x, float[N,4,5] z",
        *('y = Einsum<equation="Bij,Bjk->Bik">(x, z)', 13, {"8.2": "lower case"}),
    ),
    (
        "float[N,3,4] x, float[N,4,5] z",
        *('y = Einsum<equation="bij,bjk->bik">(x, z)', 13, {"8.2": ""}),
    ),
    (
        "float[N,H,S,4] x, float[N,H,T,4] z",
        *('y = Einsum<equation="...qd,...kd->...qk">(x, z)', 13, {"8.2": "ellipsis", "10.0": ""}),
    ),
    (
        "float[N,3,3] x",
        *('y = Einsum<equation="nii->ni">(x)', 13, {"8.2": "diagonal", "10.0": ""}),
    ),
    (
        "float[1,2,8,6] x | int64[4] z = {1,2,4,3}",
        *('y = Resize<mode="linear", antialias=1>(x, , , z)', 18),
        {"8.0": "ignores `antialias` of Resize", "10.0": "takes only 0 for the attribute"},
    ),
    (
        "float[1,2,8,6] x | int64[4] z = {1,2,4,3}",
        *('y = Resize<mode="linear", antialias=0>(x, , , z)', 18, {"8.0": ""}),
    ),
    (
        "float[1,2,8,6] x | int64[4] z = {1,2,4,4}",
        *('y = Resize<mode="linear", keep_aspect_ratio_policy="not_larger">(x, , , z)', 18),
        {"8.0": "ignores `keep_aspect_ratio_policy`", "10.0": "takes only stretch"},
    ),
    (
        "float[1,1,8,8] x, float[1,1,3,3] w_w",
        "y = ConvTranspose<kernel_shape=[3,3], strides=[2,2], output_shape=[15,16], "
        'auto_pad="SAME_UPPER">(x, w_w)',
        *(13, {"7.0": "ignores `output_shape` of ConvTranspose with auto_pad=SAME_UPPER"}),
    ),
    (
        "float[1,1,8,8] x, float[1,1,3,3] w_w",
        "y = ConvTranspose<kernel_shape=[3,3], strides=[2,2], output_padding=[1,1], "
        'auto_pad="VALID">(x, w_w)',
        *(13, {"7.0": "ignores `output_padding` of ConvTranspose with auto_pad=VALID"}),
    ),
    (
        "float[1,1,8,8] x, float[1,1,3,3] w_w",
        "y = ConvTranspose<kernel_shape=[3,3], strides=[2,2], output_padding=[1,1]>(x, w_w)",
        *(13, {"7.0": ""}),
    ),
    (
        "float[1,1,8,8] x, float[1,1,3,3] w_w",
        "y = ConvTranspose<kernel_shape=[3,3], strides=[2,2], output_shape=[18,18]>(x, w_w)",
        *(13, {"7.0": "the padding would be negative"}),
    ),
    (
        "float[1,5,64,16] x",
        "e = Slice<axes=[2], starts=[0], ends=[0]>(x); y = Concat<axis=2>(x, e)",
        *(9, {"7.0": "slices off no part of size 0", "7.2": ""}),
    ),
    (
        "float[2,7,4] x, float[1,12,4] w_a, float[1,12,3] w_b",
        *("y = LSTM<hidden_size=3, layout=1>(x, w_a, w_b)", 17),
        {"7.0": "ignores `layout` of LSTM"},
    ),
    (
        "float[2,7,4] x, float[1,9,4] w_a, float[1,9,3] w_b",
        *("y = GRU<hidden_size=3, layout=1>(x, w_a, w_b)", 17, {"8.0": "ignores `layout` of GRU"}),
    ),
    (
        "float[2,7,4] x, float[1,12,4] w_a, float[1,12,3] w_b",
        *("y = LSTM<hidden_size=3, input_forget=1>(x, w_a, w_b)", 17),
        {"7.0": "takes only 0 for the attribute `input_forget` of LSTM"},
    ),
    (
        "float[1,2,8,8] x",
        *("y = LpPool<kernel_shape=[2,2], dilations=[2,2]>(x)", 18),
        {"8.0": "ignores `dilations` of LpPool", "10.0": "dilated pooling"},
    ),
    (
        "float[1,2,9,9] x",
        *("y = LpPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x)", 18),
        {"8.0": "ignores `ceil_mode` of LpPool: sizes are rounded down", "10.0": ""},
    ),
    (
        "float[1,2,4,4] x, float[1,3,3,2] q",
        *('y = GridSample<mode="linear">(x, q)', 20, {"8.5": "misreads `mode` of GridSample"}),
    ),
    (
        "float[1,2,4,4] x, float[1,3,3,2] q",
        *('y = GridSample<mode="bilinear">(x, q)', 16, {"8.5": ""}),
    ),
    (
        "float[7,2] x, int64[2] n",
        *("y = ReverseSequence<time_axis=1, batch_axis=0>(x, n)", 13),
        {"8.0": "ignores `time_axis`", "8.6": ""},
    ),
    (
        "float[2,3] x",
        *("y = ArgMax<select_last_index=1, axis=1>(x)", 12),
        {"7.0": "ignores `select_last_index`", "8.0": ""},
    ),
    (
        "float[2,3] x | int64[0] a = {}",
        *("y = ReduceSum<noop_with_empty_axes=1>(x)", 13),
        {"7.0": "ignores `noop_with_empty_axes` of ReduceSum: all axes", "10.0": ""},
    ),
    (
        "float[1,2,9,9] x",
        *("y = LpPool<kernel_shape=[2,2], p=3>(x)", 18, {"8.0": "takes only 1 or 2 for the"}),
    ),
    (
        "float[2,7,4] x, float[2,3,4] w_a, float[2,3,3] w_b",
        'y = RNN<hidden_size=3, direction="bidirectional", activations=["Tanh","Relu"]>'
        "(x, w_a, w_b)",
        *(13, {"7.0": "takes only one choice of `activations` for both directions of RNN"}),
    ),
    (
        "float[2,7,4] x, float[2,3,4] w_a, float[2,3,3] w_b",
        'y = RNN<hidden_size=3, direction="bidirectional", activations=["Relu","Relu"]>'
        "(x, w_a, w_b)",
        *(13, {"8.0": ""}),
    ),
    (
        "float[1,2,8,6] x | int64[4] z = {1,2,4,3}",
        'y = Resize<coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="floor">'
        "(x, , , z)",
        *(11, {"8.0": "no tf_half_pixel_for_nn with floor"}),
    ),
    ("float[2,3] x | int64 k = {1}", "y, i = TopK<sorted=0>(x, k)", 11, {"7.0": ""}),
    (
        "float[1,2,4,4] x",
        *('y = SpaceToDepth<blocksize=2, mode="CRD">(x)', 28),
        {"7.0": "ignores `mode` of SpaceToDepth: the order is DCR"},
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[1])
def test_what_a_version_says_of_an_attribute(case: tuple[str, str, int, dict[str, str]]) -> None:
    inputs, body, opset, by_version = case
    model = build(inputs, body, opset)
    known = truth.infer(model.ir).shapes
    for place, version in enumerate(SUPPORTED):
        since = [name for name in by_version if SUPPORTED.index(name) <= place]
        if not since:
            continue
        expected = by_version[since[-1]]
        reasons = [each.reason for each in view(model, known, version).refusals]
        if expected:
            assert any(expected in reason for reason in reasons), (version, reasons)
        else:
            assert reasons == [], version


def test_round_computes_no_size_before_8_6() -> None:
    inputs = "float[1,3,H,W] x | int64[1] z = {0}, int64[1] two = {2}, int64[1] four = {4}"
    body = (
        "s = Shape(x); hw = Slice(s, two, four); f = Cast<to=1>(hw); r = Round(f); "
        "i = Cast<to=7>(r); nc = Slice(s, z, two); t = Concat<axis=0>(nc, i); "
        'y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric">(x, , , t)'
    )
    model = build(inputs, body, 13)
    known = truth.infer(model.ir).shapes
    for version in ("8.2", "8.4", "8.5"):
        reasons = [each.reason for each in view(model, known, version).refusals]
        assert any("computes no sizes with Round" in reason for reason in reasons), version
    assert view(model, known, "8.6").refusals == ()
    data = build("float[2,3] x", "y = Round(x)", 13)
    assert view(data, truth.infer(data.ir).shapes, "8.5").refusals == ()
