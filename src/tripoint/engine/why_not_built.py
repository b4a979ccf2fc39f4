"""Search for the node that a builder fails at, and for a remedy, by building parts and variants.

A builder fails on its own layers and regions, hardly ever on an ONNX node. Three things find the
node: the layers that its message names; else the operators whose sizes or branches are decided
at run time; else the shortest beginning of the graph that fails as well. What helps is said only
after it was tried: one size for a dim that a condition reads, one value for a flag.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import ExternalStepError, TripointError
from tripoint.graph import subgraphs
from tripoint.graph.names import node_name
from tripoint.graph.ops import COUNTING, READS_SIZES, SUBGRAPHS
from tripoint.graph.source_lines import source_of
from tripoint.model import Model
from tripoint.profiles.constraints import profiles as constrained
from tripoint.profiles.profile import Profile, from_ranges
from tripoint.progress import Progress
from tripoint.shape_inference import truth
from tripoint.shape_inference.dim_names import file_for_tensorrt
from tripoint.spec import Range
from tripoint.symbols import Shape
from tripoint.table import Refusal, format_shape
from tripoint.trt import process
from tripoint.views import layers, scopes

Call = Callable[[Path, Path, Sequence[Profile], float], Mapping[str, Any]]
"""Builds a model file into a plan with profiles within seconds, as the task "build" does."""

_SECONDS = 60.0
_TRIES = 12
_VALUES = 2
_BYTES = 1 << 29
"""How large weights may be, if models are to be written and built on trial."""
_LABEL = "node_of_"
_DECIDED_LATE = SUBGRAPHS - {"SequenceMap"} | {"NonZero", "NonMaxSuppression", "Unique"}
_OWN = re.compile(r"top-level scope")


@dataclass
class Failed:
    """A build that failed.

    Args:
        model: What was built.
        profiles: With which profiles.
        error: What the builder said.
        lines: The verbose lines of the parse.
        network: The layers of the network, see :mod:`tripoint.views.layers`; empty if the
            builder crashed.
        call: Builds something else, the same way.
        progress: Told what is tried.
    """

    model: Model
    profiles: Sequence[Profile]
    error: process.WorkerError
    lines: Sequence[str]
    network: Sequence[layers.Layer]
    call: Call
    progress: Progress
    tries: int = 0
    start: float = field(default_factory=time.monotonic)

    def builds(self, model: ir.Model, profiles: Sequence[Profile], what: str) -> bool | None:
        """Return whether something else is built; None if that was not seen, for want of time."""
        left = _SECONDS - (time.monotonic() - self.start)
        if left <= 0 or self.tries >= _TRIES:
            return None
        self.tries += 1
        self.progress(f"trying {what}")
        with (
            tempfile.TemporaryDirectory(prefix="tripoint-") as folder,
            file_for_tensorrt(Model(model)) as source,
        ):
            plan = Path(folder, "model.plan")
            try:
                complete = self.call(source.resolve(), plan, profiles, left)["complete"]
                # What the parser refuses says nothing of the builder.
                return True if complete else None
            except process.WorkerError as error:
                return None if error.kind in ("timeout", "memory") else False
            except TripointError:
                return None


def explain(failed: Failed) -> ExternalStepError:
    """The error of a build with its node, what is special about it, and what was seen to help.

    Args:
        failed: The build.
    """
    if failed.error.kind not in ("failed", "crash"):
        return failed.error
    try:
        return _explained(failed)
    except TripointError:
        return failed.error


def _explained(failed: Failed) -> ExternalStepError:
    error = failed.error
    whole = truth.inlined(failed.model.ir).clone()
    constant = _constant(error, whole.graph)
    if constant is not None:
        return constant
    true_shapes = truth.annotate(whole)
    named = _named(failed, whole)
    node = named or _first(failed, whole)
    if node is None:
        return error
    names = truth.names(whole)
    shapes = {value: true_shapes.shapes.get(name) for value, name in names.items()}
    source = source_of(node)
    about = _about(node, shapes, error.native + error.fact)
    reason = "; ".join([error.fact, *about])
    fact = str(Refusal(node_name(node), node.op_type, reason, str(source) if source else None))
    helped, hint = _helps(failed, whole, node, shapes)
    fact = "; ".join([fact, *helped])
    return process.WorkerError(fact, error.kind, native=error.native, hint=hint or error.hint)


def _constant(error: process.WorkerError, graph: ir.Graph) -> process.WorkerError | None:
    """The error, if it is about an initializer that the graph gives out, whose type is refused."""
    for value in graph.outputs:
        about = rf"(?<!\S){re.escape(value.name or '')}: invalid weights"
        if value.is_initializer() and re.search(about, f"{error.fact}\n{error.native}"):
            dtype = value.dtype.name.lower() if value.dtype is not None else "unknown"
            fact = f"output {value.name!r}, an initializer of type {dtype}: {error.fact}"
            hint = f"leave {value.name} out of the outputs: it is the same whatever the inputs are"
            return process.WorkerError(fact, error.kind, native=error.native, hint=hint)
    return None


def _named(failed: Failed, whole: ir.Model) -> ir.Node | None:
    """The node whose layer the message names first."""
    text = f"{failed.error.fact}\n{failed.error.native}"
    joined = scopes.join(scopes.read(failed.lines), whole.graph)
    nodes = {node_name(node): node for node in whole.graph.all_nodes()}
    owners = {
        layer: nodes.get(owner.removeprefix(_LABEL), nodes.get(owner))
        for owner, owned in layers.by_node(whole, joined, failed.network).items()
        for layer in owned
    }
    places = [
        (match.start(), -len(layer), node)
        for layer, node in owners.items()
        if node is not None
        and (match := re.search(rf"(?<!\w){re.escape(layer)}(?!\w)", text)) is not None
    ]
    return min(places, key=lambda place: place[:2])[2] if places else None


def _first(failed: Failed, whole: ir.Model) -> ir.Node | None:
    """The last node of the shortest beginning of the graph that is not built either."""
    weights = (value.const_value for value in whole.graph.initializers.values())
    if sum(each.nbytes for each in weights if each is not None) > _BYTES:
        return None
    nodes = list(whole.graph)
    late = [at for at, node in enumerate(nodes) if _is_late(node)]
    first = next((at for at in late if failed_at(failed, whole, at)), None)
    if first is not None and (first == 0 or failed_at(failed, whole, first - 1) is not True):
        return _inner(nodes[first], failed)
    low, high = -1, (len(nodes) - 1 if first is None else first - 1)
    while high - low > 1:
        middle = (low + high) // 2
        bad = failed_at(failed, whole, middle)
        if bad is None:
            return None
        low, high = (low, middle) if bad else (middle, high)
    return _inner(nodes[high], failed)


def _is_late(node: ir.Node) -> bool:
    return node.op_type in _DECIDED_LATE


def failed_at(failed: Failed, whole: ir.Model, at: int) -> bool | None:
    """Return whether the graph up to a node is not built; None if that was not seen."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    part = whole.clone()
    node = list(part.graph)[at]
    part.graph.outputs[:] = [value for value in node.outputs if value.name]
    RemoveUnusedNodesPass()(part)
    built = failed.builds(part, failed.profiles, f"the graph up to {node_name(node)}")
    return None if built is None else not built


def _inner(node: ir.Node, failed: Failed) -> ir.Node:
    """The node in a body that a message is about which speaks of nested scopes."""
    if not _OWN.search(failed.error.native + failed.error.fact):
        return node
    inside = (each for body in subgraphs.graphs_of(node) for each in body.all_nodes())
    return next((each for each in inside if each.op_type in COUNTING), node)


def _about(node: ir.Node, shapes: Mapping[ir.Value, Shape | None], text: str) -> Iterator[str]:
    if node.op_type == "If":
        yield "its branches give " + " and ".join(
            _shapes(body.outputs, shapes) for body in _branches(node)
        )
    elif node.op_type == "Loop":
        (body,) = subgraphs.graphs_of(node)
        for before, after in zip(body.inputs[2:], body.outputs[1:], strict=False):
            initial = node.inputs[body.inputs.index(before)]
            a, b = (_shapes([each], shapes) for each in (initial or before, after))
            if a != b:
                yield f"`{before.name}` goes into its first round as {a} and comes out as {b}"
    if "has no runners" in text:
        yield f"this TensorRT has no kernel for {node.op_type}"


def _branches(node: ir.Node) -> list[ir.Graph]:
    return [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]


def _shapes(values: Sequence[ir.Value], shapes: Mapping[ir.Value, Shape | None]) -> str:
    return ", ".join(format_shape(shapes.get(value)) for value in values)


def _helps(
    failed: Failed, whole: ir.Model, node: ir.Node, shapes: Mapping[ir.Value, Shape | None]
) -> tuple[list[str], str | None]:
    """Return the remedies that were seen to help, and the next command, if one does."""
    weights = (value.const_value for value in whole.graph.initializers.values())
    if sum(each.nbytes for each in weights if each is not None) > _BYTES:
        return [], None
    if node.op_type == "If" and node.inputs[0] is not None:
        fed = _fed_by(node.inputs[0])
        symbols = [
            dim
            for value in fed.sized
            for dim in shapes.get(value) or ()
            if isinstance(dim, str) and dim.isidentifier()
        ]
        fixed = _fixed_size(failed, whole, list(dict.fromkeys(symbols)))
        if fixed is not None:
            name, size = fixed
            return [f"with {name} = {size} an engine is built (tried)"], f"--dim {name}={size}"
        for flag in fed.read:
            said = _pinned(failed, whole, flag, fed.compared)
            if said:
                return [said], (
                    f"export a model of its own for each value of {flag.name}: make it an "
                    "argument of Python, not an input"
                )
    if node.op_type in COUNTING:
        makers = {value.producer() for value in node.inputs if value is not None}
        computed = [value for value in node.inputs if value is not None and value.producer()]
        ends = ", ".join(f"`{value.name}`" for value in node.inputs[:2] if value is not None)
        at = max((i for i, each in enumerate(whole.graph) if each in makers), default=None)
        seen = computed and at is not None and failed_at(failed, whole, at) is False
        return ["all in front of it is built (tried)"] if seen else [], (
            f"let the model end at {ends}, and leave {node.op_type} to who calls the engine"
        )
    return [], None


@dataclass
class _Fed:
    sized: list[ir.Value] = field(default_factory=list)
    read: list[ir.Value] = field(default_factory=list)
    compared: list[int] = field(default_factory=list)


def _fed_by(condition: ir.Value) -> _Fed:
    """Whose sizes, and which inputs, decide a condition, and what integers these meet."""
    fed, pending, seen = _Fed(), [condition], set[ir.Value]()
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        node = value.producer()
        constant = ir.convenience.get_const_tensor(value)
        if constant is not None and constant.size == 1 and constant.dtype.is_integer():
            fed.compared.append(int(constant.numpy().item()))
        elif node is not None and node.op_type in READS_SIZES:
            fed.sized += [each for each in node.inputs if each is not None]
        elif node is not None:
            pending += [each for each in node.inputs if each is not None]
        elif value.is_graph_input() and value.const_value is None:
            fed.read.append(value)
    return fed


def _fixed_size(failed: Failed, whole: ir.Model, symbols: Sequence[str]) -> tuple[str, int] | None:
    """One size of one dim with which an engine is built, the rest of the profile as it is."""
    needed = constrained.needs(failed.model)
    if needed.values or len(failed.profiles) != 1:
        return None
    ranges = constrained.ranges_of(needed, failed.profiles[0])
    for name in symbols:
        size = ranges.get(name)
        if size is None or size.min == size.max:
            continue
        for one in dict.fromkeys((size.min, size.opt, size.max)):
            narrowed = {**ranges, name: Range(one, one, one)}
            trial = from_ranges(needed.inputs, narrowed, {})
            if failed.builds(whole, [trial], f"{name} = {one}"):
                return name, one
    return None


def _pinned(failed: Failed, whole: ir.Model, flag: ir.Value, compared: Sequence[int]) -> str | None:
    """Describe builds where an input has one value: a flag, or what it is compared to."""
    shape, dtype = truth.shape_of(flag), flag.dtype
    if dtype is None or shape not in ((), (1,)):
        return None
    if dtype == ir.DataType.BOOL:
        values: list[int] = [True, False]
    elif dtype.is_integer():
        values = list(dict.fromkeys(compared))[:_VALUES]
    else:
        return None
    seen = []
    for each in values:
        model = whole.clone()
        value = next(entry for entry in model.graph.inputs if entry.name == flag.name)
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(np.full(shape, each, dtype.numpy()), name=flag.name)
        model.graph.register_initializer(value)
        said = str(each).lower()
        if failed.builds(model, failed.profiles, f"{flag.name} = {said}"):
            seen.append(said)
    if not seen:
        return None
    return f"with `{flag.name}` always {' or always '.join(seen)} an engine is built (tried)"
