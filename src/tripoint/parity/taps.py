"""Putting nodes behind a tensor of a graph."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir


def take_over(graph: ir.Graph, value: ir.Value, made: Sequence[ir.Node]) -> None:
    """Let all readers of a tensor read the result of some nodes in its place.

    Args:
        graph: It holds the tensor and the nodes. An output keeps its name.
        value: The tensor; among its readers the new nodes still read it.
        made: The new nodes; the first output of the last one takes over.
    """
    result = made[-1].outputs[0]
    result.type, result.shape = value.type, value.shape
    for user, place in list(value.uses()):
        if user not in made:
            user.replace_input_with(place, result)
    for place, output in enumerate(graph.outputs):
        if output is value:
            result.name, value.name = value.name, f"{result.name}.exact"
            graph.outputs[place] = result
