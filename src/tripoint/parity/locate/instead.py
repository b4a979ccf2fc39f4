"""An export of today in place of a module that gives few of its tensors by name."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.numeric.inputs import Arrays, bindings_of
from tripoint.parity.locate.deviation import measure
from tripoint.parity.locate.onnxruntime import OnnxRuntime
from tripoint.parity.locate.tolerances import Allowed
from tripoint.parity.locate.torch import PyTorch
from tripoint.progress import Progress
from tripoint.tolerance.derivation import Products

_ENOUGH = 0.5
"""Share of the file's tensors that the export must have, or the file was made otherwise."""


class Instead:
    """Stands in for PyTorch, of which few tensors can be told by name.

    Args:
        leg: The module, which has run.
        limit: Tensors to have in memory at a time.
        progress: Told what goes on.
    """

    def __init__(self, leg: PyTorch, limit: int, progress: Progress) -> None:
        self._leg = leg
        self._limit = limit
        self._say = progress
        self.changes: Mapping[ir.Node, list[str]] = {}
        self.reasons: list[str] = []
        self.notes: list[str] = []

    def reference(self, feed: Arrays, expected: Arrays, products: Products) -> OnnxRuntime | None:
        """The export in ONNX Runtime, if it gives what the module gives.

        Args:
            feed: Array by input name.
            expected: What the module gives, by output name.
            products: How float32 products are computed.

        Returns:
            None if the module cannot be exported, or its export has few tensors of the file or
            differs from the module.
        """
        try:
            self._say("export the module again")
            again = self._leg.again(feed)
            leg = OnnxRuntime(again.graph, name=self._leg.name, limit=self._limit)
            arrays = dict(leg.values(list(expected), feed))
        except TripointError as error:
            self.notes.append(
                f"the module cannot be exported again, to have all of its tensors: {error.fact}"
            )
            return None
        own = set(self._leg.comparable)
        if len(own.intersection(again.graph.comparable)) < _ENOUGH * len(own):
            return None
        sizes = bindings_of(again.graph.specs, feed)
        allowed = Allowed(again.graph, None, sizes, products=products)
        for name, array in expected.items():
            if name in arrays and measure(array, arrays[name], allowed.behind(name, array)).agrees:
                continue
            self.reasons.append(
                f"an export of the module as it is now differs from PyTorch in output {name}, too: "
                "the exporter or ONNX Runtime makes a difference, whatever the file does"
            )
            return None
        self.changes = again.changes
        return leg
