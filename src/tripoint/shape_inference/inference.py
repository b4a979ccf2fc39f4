"""Shape inference of a whole model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx_ir as ir

from tripoint.shape_inference import operators
from tripoint.shape_inference.operators.context import Context
from tripoint.shape_inference.operators.moving import Array

operators.register()


def infer(
    model: ir.Model,
    symbols: Iterable[str],
    values: Mapping[ir.Value, Array] | None = None,
    *,
    named: bool = False,
) -> Context:
    """Infer the shapes of a model, and leave them on its values.

    Args:
        model: No value but its inputs and initializers has a shape.
        symbols: Names that the model uses for sizes.
        values: Elements of inputs that are known, as far as they are.
        named: Whether numbers that tensor values decide get symbols, as
            :class:`~tripoint.shape_inference.operators.context.Context` has it.

    Returns:
        What else was found.
    """
    context = Context(model.opset_imports, symbols, model.graph if named else None)
    context.by_data.update(
        value for value in model.graph.inputs if value.name not in model.graph.initializers
    )
    context.values.update(values or {})
    context.visit(model.graph)
    return context
