"""A model between two rewrites."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from tripoint.rewrites import transaction
from tripoint.rewrites.base import Applied, Refused
from tripoint.symbols import Dim

Place = tuple[str, str]
"""Name of a rewrite, and of the node at which it is tried."""


@dataclass
class State:
    """A model on the way from one rewrite to the next, and what was done so far.

    Args:
        model: Its graph; the values carry their true shapes.
        names: The names in use in it.
        pool: Its small constants.
        applied: What is reported of the rewrites that were made.
        refused: Where one nearly fits, and why it does not.
        renamed: New node name by the name of each removed node.
        places: Where rewrites were made, in order.
        not_one: Dims of which a rewrite assumes that they are not 1.
    """

    model: ir.Model
    names: transaction.Names
    pool: transaction.Pool
    applied: list[Applied] = field(default_factory=list)
    refused: dict[Place, Refused] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    not_one: dict[Dim, None] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ir.Model) -> State:
        """A model at which nothing was done yet."""
        graph = model.graph
        return cls(model, transaction.Names.of(graph), transaction.Pool.of(graph))

    def copy(self) -> State:
        """The same with a model of its own."""
        state = State.of(self.model.clone(deep_copy=True))
        state.names.gone.update(self.names.gone)
        state.applied, state.refused = list(self.applied), dict(self.refused)
        state.renamed, state.places = dict(self.renamed), list(self.places)
        state.not_one = dict(self.not_one)
        return state

    def refuse(self, place: Place, reason: str) -> None:
        """Note why a rewrite was not made at a place."""
        self.refused[place] = Refused(*place, reason)
