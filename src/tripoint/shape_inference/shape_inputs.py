"""Graph inputs whose values are sizes: TensorRT calls them shape tensors.

A profile gives their values, not their dims (``IOptimizationProfile.set_shape_input``). TensorRT
takes integers of rank 0 or 1 and of a constant number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx_ir as ir

from tripoint.shape_inference import dim_names, roles, truth
from tripoint.shape_inference.operators.symbolic_values import LARGEST
from tripoint.symbols import symbols_of

_ODD = re.compile(r"[^A-Za-z0-9_]+")


def find(model: ir.Model) -> Mapping[str, tuple[str, ...]]:
    """The shape tensors among the inputs of a model.

    Args:
        model: It is not changed.

    Returns:
        By input name a symbol for each of its values, such as ``size_value0``; one without a
        number for a scalar.
    """
    flat = truth.inlined(model)
    read_as_sizes = roles.forced(flat)
    shapes = dim_names.input_shapes(flat.graph)
    taken = {
        symbol
        for shape in shapes.values()
        for dim in truth.dims_of(shape)
        for symbol in symbols_of(dim)
    }
    shape_inputs: dict[str, tuple[str, ...]] = {}
    for value in flat.graph.inputs:
        if value not in read_as_sizes or value.name in flat.graph.initializers:
            continue
        dims = truth.dims_of(shapes[value]) if value in shapes else None
        if dims is None or value.dtype not in (ir.DataType.INT32, ir.DataType.INT64):
            continue
        if len(dims) > 1 or not all(isinstance(dim, int) and dim <= LARGEST for dim in dims):
            continue
        stem = f"{_ODD.sub('_', value.name or '')}_value"
        stem = stem if stem[0].isalpha() or stem[0] == "_" else f"_{stem}"
        while any(symbol.startswith(stem) for symbol in taken):
            stem += "_"
        numbers = range(int(dims[0])) if dims else ("",)
        shape_inputs[value.name or ""] = tuple(f"{stem}{number}" for number in numbers)
        taken.update(shape_inputs[value.name or ""])
    return shape_inputs
