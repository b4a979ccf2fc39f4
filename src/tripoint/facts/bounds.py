"""What is known of the sizes that tensor values decide."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tripoint.facts.operators import elements
from tripoint.facts.operators.context import Context
from tripoint.facts.symbols import symbols_of
from tripoint.facts.table import Bound, Dim
from tripoint.model import node_name


def collect(names: Mapping[ir.Value, str], found: Context) -> tuple[Bound, ...]:
    """The bounds of every such size that some tensor has, in graph order.

    Args:
        names: Name by tensor, in graph order.
        found: What was inferred.
    """
    seen: dict[str, Bound] = {}
    for value, name in names.items():
        for dim in value.shape or ():
            if isinstance(dim, int):
                continue
            for symbol in sorted(symbols_of(str(dim.value))):
                size = found.sizes.get(symbol)
                if size is None or not size.by_data or symbol in seen or size.node is None:
                    continue
                seen[symbol] = Bound(
                    symbol=symbol,
                    tensor=name,
                    node=node_name(size.node),
                    op=size.node.op_type,
                    least=size.least,
                    most=_text(size.most),
                )
    return tuple(seen.values())


def _text(element: elements.Element) -> Dim | None:
    dim = elements.to_dim(element)
    return dim if isinstance(dim, int) or dim is None else str(dim.value)
