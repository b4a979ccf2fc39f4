"""Lost dims of a model while it is rewritten, and whether a change made the view worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from tripoint.shape_inference import truth
from tripoint.symbols import symbols_of
from tripoint.table import View, contradicts, varying
from tripoint.words import number_of


@dataclass(frozen=True, slots=True)
class Loss:
    """Dims of a model that a TensorRT does not know.

    Args:
        axes: Lost axes by tensor name; tensors without a loss are absent.
        unseen: Names of the tensors that it never reached.
        outer: Those of them that belong to the main graph.
    """

    axes: Mapping[str, tuple[int, ...]]
    unseen: frozenset[str]
    outer: frozenset[str]

    @classmethod
    def of(cls, model: ir.Model, view: View) -> Loss:
        """Compare the shapes on the values of a model with a view of it."""
        axes: dict[str, tuple[int, ...]] = {}
        unseen, outer = [], []
        inputs = (truth.shape_of(value) or () for value in model.graph.inputs)
        symbols = frozenset(s for shape in inputs for dim in shape for s in symbols_of(dim))
        for value, name in truth.names(model).items():
            shape, seen = truth.shape_of(value), view.shapes.get(name)
            if seen is None:
                unseen.append(name)
                if value.graph is model.graph:
                    outer.append(name)
            elif shape is not None and not contradicts(shape, seen, varying(shape, symbols)):
                pairs = enumerate(zip(shape, seen, strict=True))
                lost = tuple(i for i, (dim, size) in pairs if size == -1 and isinstance(dim, int))
                if lost:
                    axes[name] = lost
        return cls(axes, frozenset(unseen), frozenset(outer))

    def worse_than(self, before: Loss, unseen: frozenset[str]) -> str:
        """Return why this is worse than before; empty if it is not.

        Args:
            before: What was lost before a change.
            unseen: Tensors of the given model that were never reached. Their dims do not count:
                that the parser reaches them now is no loss.
        """
        # A branch of an If need not be reached once the condition is known.
        hidden, was_hidden = self.outer - unseen, before.outer - unseen
        if len(hidden) > len(was_hidden):
            first = min(hidden - was_hidden, default="")
            return f"TensorRT would not reach `{first}` any more"
        count, previous = self._count(unseen), before._count(unseen)
        if count > previous:
            return f"TensorRT would lose {number_of(count, 'dim')} instead of {previous}"
        return ""

    def _count(self, unseen: frozenset[str]) -> int:
        return sum(len(lost) for name, lost in self.axes.items() if name not in unseen)
