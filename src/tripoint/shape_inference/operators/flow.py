"""Shapes around nested graphs: If, Loop and Scan (ONNX operator specification)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.shape_inference.operators import symbolic_values as e
from tripoint.shape_inference.operators.context import Context, dims_of, operand
from tripoint.shape_inference.operators.moving import scalar
from tripoint.shape_inference.operators.symbolic_values import UNKNOWN, Element

_ROUNDS = 3
"""Most inferences of a loop's subgraph before nothing is assumed of what it carries."""

_DEEP = 3
"""Loops in loops from here on are inferred once, with nothing known of what they carry."""

Shapes = Sequence[Sequence[Element] | None]


def if_(ctx: Context, node: ir.Node) -> None:
    """If: what its branches agree on, or all of the one that is always taken."""
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    condition = ctx.scalar(node.inputs[0])
    taken = branches[condition == 0] if isinstance(condition, int) else None
    for branch in branches:
        before = dict(ctx.contradictions)
        ctx.visit(branch)
        if branch is not taken:
            # The condition may be there to keep the branch from being run.
            ctx.contradictions = before
    branches = [taken] if taken is not None else branches
    for index, output in enumerate(node.outputs):
        results = [branch.outputs[index] for branch in branches]
        if any(result in ctx.by_data for result in results):
            ctx.by_data.add(output)
        for result in results:
            _take_type(ctx, output, result)
        shapes: Shapes = [dims_of(result) for result in results]
        if taken is None:
            shapes = _by_case(condition, shapes)
        _set_merged(ctx, output, shapes)
        arrays = [ctx.array(result) for result in results]
        first = arrays[0]
        if first is not None and all(
            array is not None
            and array.shape == first.shape
            and list(array.flat) == list(first.flat)
            for array in arrays
        ):
            ctx.learn(output, first)
        elif taken is None and first is not None:
            other = arrays[1]
            if other is not None and other.shape == first.shape:
                chosen: Any = np.frompyfunc(lambda a, b: e.choose(condition, a, b), 2, 1)
                ctx.learn(output, np.asarray(chosen(first, other), dtype=object))


def _by_case(condition: Element, shapes: Shapes) -> Shapes:
    """Dims that a condition in sizes decides, where both branches have as many known ones."""
    first, second = shapes
    if first is None or second is None or len(first) != len(second):
        return shapes
    chosen = [e.choose(condition, a, b) for a, b in zip(first, second, strict=True)]
    return [
        [size if e.is_known(size) else own for size, own in zip(chosen, dims, strict=True)]
        for dims in (first, second)
    ]


def _set_merged(ctx: Context, output: ir.Value, shapes: Shapes) -> None:
    """Set what several shapes have in common; where they differ the size lies between them."""
    ranked = [dims for dims in shapes if dims is not None]
    if len(ranked) < len(shapes) or len({len(dims) for dims in ranked}) != 1:
        return
    merged = []
    for sizes in zip(*ranked, strict=True):
        size = sizes[0]
        if any(other != size for other in sizes):
            least = size if isinstance(size, int) else 0
            for other in sizes[1:]:
                least = min(least, other) if isinstance(other, int) else 0
                size = e.maximum(size, other)
            size = e.from_dim(ctx.fresh(least, size))
        merged.append(size)
    ctx.set_dims(output, merged, None)


def loop(ctx: Context, node: ir.Node) -> None:
    """Loop: what it carries keeps the dims that no iteration changes."""
    body = node.attributes["body"].as_graph()
    initial = node.inputs[2:]
    results, stacked = body.outputs[1 : 1 + len(initial)], body.outputs[1 + len(initial) :]
    for formal, dtype in zip(body.inputs[:2], (ir.DataType.INT64, ir.DataType.BOOL), strict=True):
        formal.shape, formal.dtype = ir.Shape([]), formal.dtype or dtype
        ctx.by_data.add(formal)
    # The subgraph only runs while the condition holds.
    ctx.values[body.inputs[1]] = scalar(1)
    shapes = [dims_of(value) for value in initial]
    carried = _carried(ctx, body, body.inputs[2:], initial, shapes, results)
    _set_outputs(ctx, node.outputs[: len(initial)], results, carried)
    count = _trip_count(ctx, node, body)
    slices = [dims_of(result) for result in stacked]
    _set_outputs(
        ctx,
        node.outputs[len(initial) :],
        stacked,
        [[count, *dims] if dims is not None else None for dims in slices],
    )


def _trip_count(ctx: Context, node: ir.Node, body: ir.Graph) -> Element:
    limit, first = operand(node, 0), operand(node, 1)
    most = e.maximum(ctx.scalar(limit), 0) if limit is not None else UNKNOWN
    begins = ctx.scalar(first) if first is not None else 1
    goes_on = ctx.scalar(body.outputs[0])
    if begins == 0:
        return 0
    if begins == 1 and goes_on == 0:
        return e.minimum(most, 1) if limit is not None else 1
    if begins == 1 and goes_on == 1 and e.is_known(most):
        return most
    return e.from_dim(ctx.fresh(most=most, by_data=True))


def scan(ctx: Context, node: ir.Node) -> None:
    """Scan: slices of its inputs go in, and its outputs are stacked.

    In opset 8 there is an operand more in front, and every tensor outside has a batch.
    """
    body = node.attributes["body"].as_graph()
    early = ctx.opset < 9
    inputs = node.inputs[early:]
    states = len(inputs) - node.attributes.get_int("num_scan_inputs", 0)
    batch: list[Element] = []
    shapes = []
    for value in inputs:
        dims = dims_of(value)
        if early and dims is not None:
            batch, dims = dims[:1], dims[1:]
        shapes.append(dims)
    count: Element = UNKNOWN
    axes = node.attributes.get_ints("scan_input_axes") or [0] * (len(inputs) - states)
    for index, axis in enumerate(axes, start=states):
        formal, value, dims = body.inputs[index], inputs[index], shapes[index]
        ctx.by_data.add(formal)
        if value is not None and dims is not None:
            size = dims.pop(axis)
            count = size if count is UNKNOWN or isinstance(size, int) else count
            formal.shape = _shape(ctx, dims)
            _take_type(ctx, formal, value)
    results, stacked = body.outputs[:states], body.outputs[states:]
    carried = _carried(ctx, body, body.inputs[:states], inputs[:states], shapes[:states], results)
    axes = node.attributes.get_ints("scan_output_axes") or [0] * len(stacked)
    slices = [dims_of(result) for result in stacked]
    for dims, axis in zip(slices, axes, strict=True):
        if dims is not None:
            dims.insert(axis % (len(dims) + 1), count)
    _set_outputs(
        ctx,
        node.outputs,
        body.outputs,
        [[*batch, *dims] if dims is not None else None for dims in (*carried, *slices)],
    )


def _carried(
    ctx: Context,
    body: ir.Graph,
    formals: Sequence[ir.Value],
    initial: Sequence[ir.Value | None],
    shapes: Shapes,
    results: Sequence[ir.Value],
) -> list[list[Element] | None]:
    """Infer the subgraph of a loop so that what it says holds in each iteration.

    Dims that an iteration changes become symbols, and the subgraph is inferred again, until nothing
    else changes any more.

    Returns:
        The shapes after the loop.
    """
    for formal, value, result in zip(formals, initial, results, strict=True):
        if value is None:
            continue
        _take_type(ctx, formal, value)
        if result is not formal:
            ctx.by_data.add(formal)
            continue
        if value in ctx.by_data:
            ctx.by_data.add(formal)
        if (array := ctx.array(value)) is not None:
            ctx.values[formal] = array
    before: Shapes = shapes
    varying: set[Element] = set()
    ctx.depth += 1
    for _ in range(_ROUNDS if ctx.depth <= _DEEP else 1):
        _bind(ctx, formals, before)
        ctx.visit(body)
        after = [dims_of(result) for result in results]
        widened = [_widened(ctx, *pair, varying) for pair in zip(before, after, strict=True)]
        if widened == before:
            break
        before = widened
        ctx.forget(body)
    else:
        before = [None] * len(shapes)
        _bind(ctx, formals, before)
        ctx.visit(body)
    ctx.depth -= 1
    # After the loop a varying dim is what the last iteration made it, so not what it is inside.
    return [
        [e.from_dim(ctx.fresh(by_data=True)) if dim in varying else dim for dim in dims]
        if dims is not None
        else None
        for dims in before
    ]


def _bind(ctx: Context, formals: Sequence[ir.Value], shapes: Shapes) -> None:
    for formal, dims in zip(formals, shapes, strict=True):
        formal.shape = _shape(ctx, dims)


def _widened(
    ctx: Context,
    dims: Sequence[Element] | None,
    after: Sequence[Element] | None,
    varying: set[Element],
) -> Sequence[Element] | None:
    if dims is None or after is None or len(dims) != len(after):
        return None
    widened = []
    for a, b in zip(dims, after, strict=True):
        if a != b and a not in varying:
            a = e.from_dim(ctx.fresh(by_data=True))
            varying.add(a)
        widened.append(a)
    return widened


def _set_outputs(
    ctx: Context, outputs: Sequence[ir.Value], results: Sequence[ir.Value], shapes: Shapes
) -> None:
    for output, result, dims in zip(outputs, results, shapes, strict=True):
        ctx.by_data.add(output)
        _take_type(ctx, output, result)
        ctx.set_dims(output, dims, None)


def _take_type(ctx: Context, value: ir.Value, other: ir.Value) -> None:
    if other.dtype is not None:
        ctx.dtypes[value] = other.dtype
    if value.type is not None or other.type is None:
        return
    # A tensor type belongs to one value, which may change its dtype.
    tensor = isinstance(other.type, ir.TensorType) and other.dtype is not None
    value.type = ir.TensorType(other.type.dtype) if tensor else other.type


def _shape(ctx: Context, dims: Sequence[Element] | None) -> ir.Shape | None:
    if dims is None:
        return None
    sizes = [e.to_dim(dim) for dim in dims]
    return ir.Shape([dim if dim is not None else ctx.fresh(by_data=True) for dim in sizes])
