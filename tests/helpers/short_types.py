"""Models of float32 as models of a shorter type, and what that type costs them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir

from tripoint.graph.subgraphs import graphs_in

TYPES = {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}
_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type")


def retyped(model: ir.Model, low: ir.DataType, wide: ir.DataType | None = None) -> ir.Model:
    """A copy with one type of floats in place of float32.

    Args:
        model: Its values carry their types.
        low: The type; constants beyond its range become the largest numbers of it.
        wide: What the numbers are stored in after they were rounded to ``low``; None for ``low``.
    """
    copy = model.clone()
    stored = wide or low

    def constant(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        array = tensor.numpy()
        limit = limit_of(low)
        rounded = np.clip(array, -limit, limit).astype(low.numpy()).astype(stored.numpy())
        return ir.Tensor(rounded, dtype=stored, name=tensor.name)

    def change(graph: ir.Graph) -> None:
        # The factors of a Resize are float32 whatever it resizes.
        factors = {node.inputs[2] for node in graph if node.op_type == "Resize" and node.inputs[2:]}
        for value in (*graph.inputs, *graph.initializers.values()):
            if value not in factors:
                retype(value)
        for value in graph.initializers.values():
            if (
                value not in factors
                and value.const_value is not None
                and value.const_value.dtype == ir.DataType.FLOAT
            ):
                value.const_value = constant(value.const_value)
        for node in graph:
            for value in node.outputs:
                retype(value)
            for name, attribute in list(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR:
                    tensor = attribute.as_tensor()
                    if tensor.dtype == ir.DataType.FLOAT:
                        node.attributes[name] = ir.AttrTensor(name, constant(tensor))
                elif name in _ATTRIBUTES and node.attributes.get_int(name, 0) == ir.DataType.FLOAT:
                    node.attributes[name] = ir.AttrInt64(name, stored.value)
                for body in graphs_in(attribute):
                    change(body)

    def retype(value: ir.Value) -> None:
        if isinstance(value.type, ir.TensorType) and value.dtype == ir.DataType.FLOAT:
            value.type = ir.TensorType(stored)

    change(copy.graph)
    return copy


def limit_of(dtype: ir.DataType) -> float:
    """The largest number of a type."""

    return float(ml_dtypes.finfo(dtype.numpy()).max)
