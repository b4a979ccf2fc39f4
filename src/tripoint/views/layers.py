"""Layers of a network by the node of the model that they were created for.

The parser adds layers of its own: casts, shuffles to equal ranks, constants, the parts of a loop.
TensorRT notes the ONNX node on some only. The others belong to the node whose layer consumes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from tripoint.graph import subgraphs
from tripoint.graph.names import node_name
from tripoint.views.scopes import Joined

_NOTE = re.compile(r"\[ONNX Layer: (?P<label>.*?)(?: \| .*)?\]$", re.DOTALL)

Layer = tuple[str, Sequence[str], Sequence[str], str]
"""Name of a layer, the network's names of its inputs and outputs, and what TensorRT notes."""


def by_node(
    model: ir.Model, joined: Joined, layers: Sequence[Layer]
) -> Mapping[str, tuple[str, ...]]:
    """Name the layers of each node.

    Args:
        model: The model that was parsed, with its local functions inlined.
        joined: Its tensors and the network's.
        layers: The layers of the complete network, in order.

    Returns:
        The names of its layers by node. A layer that nothing joins to a node is left out.
    """
    makers = _makers(model, joined)
    reader: dict[str, str] = {}
    owned: dict[str, list[str]] = {}
    for name, inputs, outputs, note in reversed(layers):
        noted = _NOTE.match(note)
        owner = (
            next((makers[each] for each in outputs if each in makers), None)
            or (noted["label"] if noted else None)
            or next((reader[each] for each in outputs if each in reader), None)
        )
        if owner is not None:
            reader.update(dict.fromkeys(inputs, owner))
            owned.setdefault(owner, []).append(name)
    return {owner: tuple(reversed(names)) for owner, names in reversed(owned.items())}


def _makers(model: ir.Model, joined: Joined) -> dict[str, str]:
    """Nodes by network name of the tensor that they produce, or feed to their subgraph."""
    makers = {
        unique: node_name(node)
        for value, unique in joined.unique.items()
        if (node := value.producer()) is not None
    }
    for node in model.graph.all_nodes():
        for body in subgraphs.graphs_of(node):
            for value in body.inputs:
                if value in joined.unique:
                    makers[joined.unique[value]] = node_name(node)
    for value in model.graph.outputs:
        # They take their ONNX name at the end of the parse.
        if value.name and (node := value.producer()) is not None:
            makers[value.name] = node_name(node)
    return makers
