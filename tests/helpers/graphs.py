"""Small models from ONNX text, and ONNX Runtime to execute them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import numpy_helper

import tripoint
from tests.helpers.paths import SEED
from tripoint.model import Model
from tripoint.rewrites.base import FixResult

GRAPH_A = SEED / "graph_a.onnxtxt"
GRAPH_B = SEED / "graph_b.onnxtxt"

Feed = Mapping[str, "np.ndarray[Any, Any]"]


def onnx_text(text: str) -> Model:
    """A model from the ONNX text of its graph, in opset 18."""
    header = '<ir_version: 10, opset_import: ["" : 18]>\n'
    return Model(ir.from_proto(onnx.parser.parse_model(header + text)))


def build(inputs: str, body: str, opset: int = 13, outputs: str = "y") -> Model:
    """A model from ONNX text.

    Constants follow the inputs after ``|``; inputs named ``w_*`` become random weights, and
    ``;`` ends a node. Outputs without a type get the one that ONNX infers.
    """
    variables, _, constants = inputs.partition("|")
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({variables}) => ({outputs}) '
        f"{f'<{constants}>' if constants else ''} {{ {body.replace(';', chr(10))} }}"
    )
    rng = np.random.default_rng(7)
    for value in [v for v in proto.graph.input if v.name.startswith("w_")]:
        proto.graph.input.remove(value)
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        weights = rng.standard_normal(dims).astype(dtype)
        proto.graph.initializer.append(numpy_helper.from_array(weights, value.name))
    untyped = [value for value in proto.graph.output if not value.type.tensor_type.elem_type]
    if untyped:  # onnx before 1.22 crashes on some nodes that do not fit
        inferred = {v.name: v for v in onnx.shape_inference.infer_shapes(proto).graph.output}
        for value in untyped:
            value.CopyFrom(inferred[value.name])
    return Model(ir.from_proto(proto))


def to_bytes(model: Model) -> bytes:
    """The model as its file would hold it."""
    return ir.to_proto(model.ir).SerializeToString(deterministic=True)


def operators(model: Model) -> list[str]:
    """Operator of each node, in order."""
    return [node.op_type for node in model.ir.graph]


def feed(model: Model, seed: int = 0, **sizes: int) -> Feed:
    """Random inputs; ``sizes`` binds the symbols."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for value in model.ir.graph.inputs:
        assert value.shape is not None
        assert value.dtype is not None
        dims = [dim if isinstance(dim, int) else sizes[str(dim.value)] for dim in value.shape]
        if value.dtype.is_floating_point():
            arrays[value.name or ""] = rng.standard_normal(dims).astype(value.dtype.numpy())
        else:
            arrays[value.name or ""] = rng.integers(0, 5, dims).astype(value.dtype.numpy())
    return arrays


def execute(model: Model, inputs: Feed) -> Sequence[np.ndarray[Any, Any]]:
    """All outputs in ONNX Runtime, without graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        to_bytes(model), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(inputs)))


def assert_same_function(
    a: Model, b: Model, sizes: Iterable[Mapping[str, int]] = ({}, {}, {})
) -> None:
    """Both models compute the same numbers at these sizes, in the same outputs and inputs."""
    assert interface(a) == interface(b)
    for seed, point in enumerate(sizes):
        inputs = feed(a, seed, **point)
        for expected, actual in zip(execute(a, inputs), execute(b, inputs), strict=True):
            assert expected.dtype == actual.dtype
            assert expected.shape == actual.shape
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def interface(model: Model) -> list[tuple[str | None, str, str]]:
    """Name, dtype and shape of the inputs, then of the outputs."""
    values = [*model.ir.graph.inputs, *model.ir.graph.outputs]
    return [(value.name, str(value.dtype), str(value.shape)) for value in values]


def fixed(
    model: Model,
    sizes: Iterable[Mapping[str, int]] = ({}, {}, {}),
    select: Sequence[str] | None = None,
) -> FixResult:
    """Fix a model, and check what must hold whatever was rewritten."""
    before = to_bytes(model)
    result = tripoint.fix(model, target="7.1", select=select)
    assert to_bytes(model) == before
    assert to_bytes(tripoint.fix(model, target="7.1", select=select).model) == to_bytes(
        result.model
    )
    if not result.applied:
        assert result.model is model
        assert result.proof is None
        return result
    assert result.proven
    assert all(each.proof.holds for each in result.applied)
    assert tripoint.fix(result.model, target="7.1", select=select).applied == ()
    assert_same_function(model, result.model, sizes)
    return result
