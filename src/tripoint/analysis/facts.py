"""Computes the tensor table of a model for a target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import onnx_ir as ir

from tripoint import views
from tripoint.analysis.origins import Explainer
from tripoint.graph import passthrough
from tripoint.graph.names import node_name
from tripoint.graph.source_lines import Source, source_of
from tripoint.model import Model
from tripoint.shape_inference import roles, truth
from tripoint.shape_inference.truth import Truth
from tripoint.table import INITIALIZER, Chain, Refusal, TensorFacts, TensorTable, View, varying
from tripoint.views.importer import operators

if TYPE_CHECKING:
    from tripoint.views.log import Recording


@dataclass(frozen=True)
class Facts:
    """A table together with what it was computed from, so that one tensor can be explained."""

    model: Model
    truth: Truth
    view: View

    @cached_property
    def graph(self) -> ir.Model:
        """The model without local functions, whose tensors the table names."""
        return truth.inlined(self.model.ir)

    @cached_property
    def table(self) -> TensorTable:
        """The table; computed on first use."""
        graph = self.graph.graph
        return TensorTable(
            target=self.view.target,
            inputs=tuple(value.name or "" for value in truth.given_inputs(graph)),
            outputs=tuple(value.name or "" for value in graph.outputs),
            tensors=tuple(self._facts.values()),
            symbols=self.truth.symbols,
            data_dependent=self.truth.data_dependent,
            chains=self._explainer.chains(),
            refusals=self._refusals,
            layers=self.view.layers,
            contradictions=self.truth.contradictions,
            bounds=self.truth.bounds,
            frozen=self.truth.frozen,
            notes=self._notes,
            layers_of=self.view.layers_of,
        )

    def chain(self, tensor: str) -> Chain:
        """Return the chain of reasons why one tensor lost dimensions.

        Raises:
            KeyError: If the model has no tensor of that name.
        """
        return self._explainer.chain(tensor)

    @cached_property
    def _notes(self) -> tuple[str, ...]:
        target = self.view.target
        newest = operators.newest_opset(target.version) if target.kind == "importer" else None
        notes = [f"shapes behind {op} are not known: no rule for it" for op in self.truth.unknown]
        if newest is not None and self.model.opset > newest:
            notes.append(
                f"TensorRT {target.version} was made for opset {newest} and older, "
                f"this model has opset {self.model.opset}"
            )
        return (*self.view.notes, *notes, *self._passed)

    @property
    def _passed(self) -> Iterator[str]:
        """Yield what TensorRT makes of outputs that are inputs, or that are listed twice."""
        graph = self.graph.graph
        outputs = Counter(value.name or "" for value in graph.outputs)
        for value in truth.given_inputs(graph):
            name = value.name or ""
            if name in outputs:
                yield (
                    f"the input `{name}` is an output as well; an engine cannot give both one "
                    f"name, and calls the input `{passthrough.engine_name(name, outputs)}`"
                )
        for name, count in outputs.items():
            if count > 1:
                yield f"the output `{name}` is listed {count} times; an engine has it once"

    @cached_property
    def _facts(self) -> dict[str, TensorFacts]:
        computed = roles.infer(self.graph)
        facts: dict[str, TensorFacts] = {}
        for value, name in truth.names(self.graph).items():
            node = value.producer()
            facts[name] = TensorFacts(
                name=name,
                op=node.op_type if node is not None else _without_node(value),
                node=node_name(node) if node is not None else None,
                dtype=self.truth.dtypes.get(name),
                shape=self.truth.shapes.get(name),
                tensorrt=self.view.shapes.get(name),
                role=self.view.roles.get(name) or computed.get(name),
                source=source_of(node) if node is not None else None,
                fixed=self.truth.fixed.get(name, ()),
                varies=varying(self.truth.shapes.get(name), self.truth.symbols),
                declared=self.truth.declared.get(name),
            )
        return facts

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(
            self.graph,
            self._facts,
            self.view.reasons,
            str(self.view.target),
            self._refusals,
            self.truth.frozen,
        )

    @cached_property
    def _refusals(self) -> tuple[Refusal, ...]:
        """Return the view's refusals, and of a real parser also what it misreads without a word."""
        told = self.view.refusals
        if told:
            from tripoint.views import quantized

            told = quantized.explained(told, self.graph.graph)
        if self.view.target.kind != "installed":
            return told
        from tripoint.analysis import misreading

        return (*told, *misreading.of_parser(self.graph, self._facts, self.view.target, told))


def _without_node(value: ir.Value) -> str | None:
    return INITIALIZER if value.is_initializer() else None


def compute(model: Model, target: str | None = None, *, tensorrt: str | None = None) -> Facts:
    """Compute true shapes and a TensorRT's view of a model.

    Args:
        model: The model; it is not changed.
        target: ``"installed"`` or a version such as ``"7.1"``; None takes the installed
            TensorRT where there is one, else the newest model of an importer.
        tensorrt: Which importable TensorRT ``"installed"`` means, None for the first found.

    Raises:
        UsageError: If the target is unknown.
        MissingDependencyError: If the target is ``"installed"`` and no TensorRT is.
        InputError: If shapes cannot be inferred.
    """
    pending = views.start(model, target, tensorrt=tensorrt)
    inferred = truth.infer(model.ir)
    return Facts(model, inferred, pending(inferred.shapes))


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node for a listing: what it computes from what, and where it came from."""

    node: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: Source | None


def listing(model: Model) -> tuple[NodeLine, ...]:
    """The nodes of a model in graph order."""
    return tuple(
        NodeLine(
            node_name(node),
            node.op_type,
            tuple(value.name or "" if value is not None else "" for value in node.inputs),
            tuple(value.name or "" for value in node.outputs),
            source_of(node),
        )
        for node in model.ir.graph.all_nodes()
    )


def of_recording(recording: Recording) -> Facts:
    """The tensor table of a recorded model, with origins and chains, as for any target."""
    return Facts(recording.model, recording.truth, recording.view)
