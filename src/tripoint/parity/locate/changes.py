"""Differences of a file from the module, by node."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate import contents
from tripoint.words import number_of

_TOLD = 5
"""Nodes that make no error and are listed all the same."""


class Changes:
    """Differences in words.

    Args:
        texts: Those of an export of today, by node of the file.
        weights: Parameters and buffers of the module by name, where nothing was exported.
    """

    def __init__(
        self, texts: Mapping[ir.Node, list[str]] | None = None, weights: Arrays | None = None
    ) -> None:
        self._texts = texts or {}
        self._weights = weights or {}

    def of(self, nodes: Iterable[ir.Node]) -> tuple[str, ...]:
        """Return the differences of some nodes from the module."""
        texts = (text for node in nodes for text in (*self._texts.get(node, ()), *self._of(node)))
        return tuple(dict.fromkeys(texts))

    def others(self, nodes: Collection[ir.Node]) -> Iterator[str]:
        """One text for each further node that is not the same and makes no error here."""
        left = [node for node in self._texts if node not in nodes]
        for node in left[:_TOLD]:
            yield f"{node_name(node)} is not as in the module: {'; '.join(self._texts[node])}"
        if len(left) > _TOLD:
            yield f"{number_of(len(left) - _TOLD, 'more node')} not as in the module"

    def _of(self, node: ir.Node) -> Iterator[str]:
        for value in node.inputs:
            name, tensor = (
                (value.name or "", value.const_value) if value is not None else ("", None)
            )
            if tensor is None or name not in self._weights:
                continue
            own, other = tensor.numpy(), self._weights[name]
            if own.shape == other.shape:
                yield from contents.numbers(name, own, other)
