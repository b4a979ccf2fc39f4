"""Bringing the output of both exporters into one form."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import onnx_ir as ir

from tripoint.errors import UsageError
from tripoint.graph.source_lines import STACK_TRACE, Frame, format_frames, frames_of
from tripoint.sources.example_inputs import InputPlan
from tripoint.words import number_of

_PACKAGE = str(Path(__file__).resolve().parent.parent)
_CALLS = frozenset({"_call_impl", "_wrapped_call_impl", "_slow_forward"})


def keep_sources(model: ir.Model) -> None:
    """Put the stack trace of every node into its metadata, and no long doc strings.

    The frames of the exporter, of tripoint and of ``Module.__call__`` are left out. A node
    without a frame of the model's own, such as the size of an input, gets the trace of the
    first node that uses it: that line is why it exists.

    Args:
        model: Changed in place.
    """
    nodes = list(model.graph.all_nodes())
    frames = {node: _own_frames(frames_of(node)) for node in nodes}
    for node in reversed(nodes):
        if not any(not frame.in_torch for frame in frames[node]):
            users = [user for output in node.outputs for user in output.consumers()]
            borrowed = next((frames[user] for user in users if frames.get(user)), ())
            frames[node] = borrowed or frames[node]
        if frames[node]:
            node.metadata_props[STACK_TRACE] = format_frames(frames[node])
        node.doc_string = None


def restore_inputs(model: ir.Model, plan: InputPlan) -> None:
    """Put the inputs back that an exporter left out because no node uses them.

    Whoever feeds the model has them, and would be told that they do not exist.

    Args:
        model: Changed in place.
        plan: The inputs that it was exported with.
    """
    exported = {value.name: value for value in model.graph.inputs}
    if exported.keys() == plan.tensors.keys():
        return
    restored = []
    for name, tensor in plan.tensors.items():
        dtype = ir.tensor(tensor.detach().cpu()).dtype
        unused = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(plan.dims[name]))
        restored.append(exported.get(name, unused))
    model.graph.inputs[:] = restored


def name_inputs(model: ir.Model, names: Sequence[str]) -> None:
    """Give the inputs other names.

    Args:
        model: Changed in place.
        names: The names, in the order of the inputs.

    Raises:
        UsageError: If there are not as many, or the graph has such a name already.
    """
    inputs = list(model.graph.inputs)
    if len(names) != len(inputs):
        raise UsageError(
            f"{number_of(len(names), 'input name')} for {number_of(len(inputs), 'input')}",
            hint=f"name {', '.join(value.name or '' for value in inputs)}, in this order",
        )
    others = {value.name for node in model.graph.all_nodes() for value in node.outputs}
    others |= model.graph.initializers.keys()
    clash = [name for at, name in enumerate(names) if name in others or name in names[:at]]
    if clash:
        raise UsageError(
            f"the graph has {clash[0]!r} already", hint="give --input-names with other names"
        )
    for value, name in zip(inputs, names, strict=True):
        value.name = name


def drop_invented_dims(model: ir.Model, symbols: Collection[str]) -> None:
    """Forget the dim names that an exporter made up, such as ``Convoutput_dim_0``.

    They look like symbols that the inputs declare, but nothing defines them.

    Args:
        model: Changed in place.
        symbols: The symbols that the inputs declare; expressions in them stay.
    """
    from tripoint.symbols import symbols_of

    own = set(symbols)
    for graph in model.graphs():
        for value in (output for node in graph for output in node.outputs):
            if value.shape is None:
                continue
            dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
            kept = [
                None if isinstance(dim, str) and not symbols_of(dim) <= own else dim for dim in dims
            ]
            if kept != dims:
                value.shape = ir.Shape(kept)


def _own_frames(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    ours = [index for index, frame in enumerate(frames) if frame.file.startswith(_PACKAGE)]
    inner = frames[ours[-1] + 1 :] if ours else frames
    return tuple(frame for frame in inner if frame.function not in _CALLS)
