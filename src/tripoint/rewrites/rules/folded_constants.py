"""Replace what is computed from constants alone by a constant.

    Sqrt(Cast(64)) = 8.0

Holds for operators of the default domain without randomness and nested graphs, where the result has
at most 64 Ki elements, and every tensor that is made on the way 4 Mi. Weights above 64 Ki elements
are not read. ONNX Runtime computes the elements, so that they are those that it would have used.
Graph outputs stay, what makes a large tensor out of a small one does, and so does explicit
quantization: TensorRT takes the DequantizeLinear of a weight for the type to compute in. Kernels of
convolutions may have 4 Mi elements for TensorRT 7.2, which takes no others.

Why: TensorRT 7.x takes the result of a node on constants for a tensor of unknown value; every
version refuses or fails to fold some operators in shape arithmetic, and the nodes go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.graph.subgraphs import graphs_of
from tripoint.model import Model
from tripoint.numeric import ort
from tripoint.rewrites import quantization, subgraph
from tripoint.rewrites.base import NOT_REPEATABLE, Replacement, Rewrite, Site
from tripoint.rewrites.constants import constant, initializer

_MOST = 1 << 16
"""Elements of the largest tensor that is read or written."""

_MOST_ON_THE_WAY = 1 << 22
"""Elements of the largest tensor that is made."""

_CONVOLUTIONS = ("Conv", "ConvTranspose")

Arrays = Mapping[ir.Value, np.ndarray[Any, Any]]


def _find(node: ir.Node, site: Site) -> Replacement | None:
    if "folded" not in site.notes:
        site.notes["folded"] = _computed(site)
    arrays: Arrays = site.notes["folded"]
    outputs = [value for value in node.outputs if value in arrays]
    if not outputs:
        return None
    constants = [
        initializer(arrays[value], f"{value.name}.folded", value.dtype) for value in outputs
    ]
    return Replacement([node], outputs, [], constants, constants, whole=True)


def _computed(site: Site) -> Arrays:
    """The elements of the tensors at which what can be folded ends."""
    model = site.model
    nodes = list(_foldable(model.graph))
    gone: set[ir.Node] = set()
    ends: list[ir.Value] = []
    for node in reversed(nodes):
        stays = [value for value in node.outputs if any(u not in gone for u, _ in value.uses())]
        small = [value for value in stays if _is_at_most(_size(value), _most(value, site))]
        if len(small) == len(stays) and not any(value.is_graph_output() for value in node.outputs):
            gone.add(node)
        ends.extend(value for value in small if not value.is_graph_output())
    ends.reverse()
    makers = dict.fromkeys(maker for value in ends if (maker := value.producer()) is not None)
    arrays = _run(subgraph.around([*makers], whole=True), ends, model)
    if arrays is None:
        # One that ONNX Runtime does not run must not keep the others from being folded.
        arrays = {}
        for value in ends:
            producer = value.producer()
            if producer is not None:
                cone = subgraph.around([producer], whole=True)
                arrays.update(_run(cone, [value], model) or {})
    return arrays


def _most(value: ir.Value, site: Site) -> int:
    """Elements that a value may have to be written."""
    kernel = any(user.op_type in _CONVOLUTIONS and place for user, place in value.uses())
    return _MOST_ON_THE_WAY if kernel and site.takes_constant_kernels else _MOST


def _foldable(graph: ir.Graph) -> Iterator[ir.Node]:
    constants: set[ir.Value] = set()
    for node in graph:
        if node.op_type in ("Constant", *NOT_REPEATABLE) or node.domain or graphs_of(node):
            continue
        if quantization.stays(node):
            continue
        inputs = [value for value in node.inputs if value is not None]
        fits = (_is_at_most(_size(value), _MOST_ON_THE_WAY) for value in node.outputs)
        if inputs and all(value in constants or _is_small(value) for value in inputs) and all(fits):
            constants.update(node.outputs)
            yield node


def _is_small(value: ir.Value) -> bool:
    tensor = constant(value)
    return tensor is not None and tensor.size <= _MOST


def _is_at_most(size: int | None, most: int) -> bool:
    return size is not None and size <= most


def _size(value: ir.Value) -> int | None:
    sizes = list(value.shape) if value.shape is not None else [None]
    integers = [size for size in sizes if isinstance(size, int)]
    return int(np.prod(integers, dtype=object)) if len(integers) == len(sizes) else None


def _run(nodes: list[ir.Node], ends: list[ir.Value], model: ir.Model) -> Arrays | None:
    if not ends:
        return {}
    try:
        part = subgraph.cut(nodes, [], ends, model.graph.opset_imports)
        return dict(zip(ends, ort.Session(Model(part.model)).run({}), strict=True))
    except (TripointError, OSError):
        # ONNX Runtime does not have the operator, or a data file is missing.
        return None


REWRITE = Rewrite(
    name="folded-constants",
    title="Compute once what depends on constants alone",
    find=_find,
    may_match=lambda node: not node.domain and node.op_type != "Constant",
)
