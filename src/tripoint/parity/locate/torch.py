"""PyTorch as the reference: the tensors inside a module, under the names of its ONNX export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tripoint.errors import ExternalStepError, TripointError
from tripoint.numeric.inputs import Arrays, bindings_of, generate
from tripoint.numeric.torch_arrays import to_array, to_tensor
from tripoint.parity.legs.torch import TorchLeg, as_written
from tripoint.parity.locate import fx, scopes
from tripoint.parity.locate.again import Again, export_again
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.legs import Named
from tripoint.parity.locate.tensor_cache import Shelf
from tripoint.sources.pairing import pair_inputs, pair_outputs, renamed
from tripoint.sources.python import TorchModel
from tripoint.sources.torch_export import capture

if TYPE_CHECKING:
    import torch

_ENOUGH = 0.5
"""Share of the recorded FX nodes that must be found again, or the module has changed since."""

_LARGE = 1 << 16
"""A size that nobody exports for, but that is a bound."""


class PyTorch:
    """Gives the tensors inside a module that can be told from what the export recorded.

    ==================================  ==============================================
    the export kept FX nodes (dynamo)   the value of each FX node that is found again
    it kept module scopes only          the outputs of modules
    it kept neither                     the outputs of the whole
    ==================================  ==============================================

    Args:
        model: The module.
        graph: Its export.
        limit: Tensors to have in memory at a time.
        ranges: Smallest and largest size of symbols that it was exported with, if known.
        input_names: What the file calls the inputs of the module, in order.
        output_names: What the user calls the outputs of the module, in order.

    Raises:
        UsageError: If inputs or outputs of the two cannot be matched by name.
    """

    name = "PyTorch"

    def __init__(
        self,
        model: TorchModel,
        graph: Graph,
        *,
        limit: int,
        ranges: Mapping[str, tuple[int, int]] | None = None,
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
    ) -> None:
        self._model = model
        self._graph = graph
        self._limit = limit
        self._ranges = ranges or {}
        self._output_names = output_names
        self._parameters, note = pair_inputs(model, list(graph.specs), input_names)
        self._leg = TorchLeg(model, inputs=self._parameters)
        self._places: dict[str, str] | None = None
        self._vanished: frozenset[str] = frozenset()
        self._program: torch.export.ExportedProgram | None = None
        self._names: Mapping[str, str] = {}
        self.notes: list[str] = [*model.notes, *([note] if note else [])]
        self.resolution = ""

    @property
    def version(self) -> str:
        """Version of PyTorch."""
        return self._leg.version

    @property
    def device(self) -> str:
        """Device of the module."""
        return self._leg.device

    @property
    def tf32(self) -> bool:
        """Return whether PyTorch may round float32 products to TF32 there."""
        return self._leg.tf32

    def values(self, tensors: Sequence[str], feed: Arrays) -> Named:
        """Run the module once, and what of it leads to the tensors inside once more.

        Raises:
            InputError: If ``forward`` raises.
        """
        wanted = set(tensors)
        yield from ((name, feed[name]) for name in feed if name in wanted)
        ends = wanted & set(self._graph.outputs)
        inner = self._located(wanted - ends - feed.keys(), feed)
        outputs: Arrays = {}
        with Shelf(self._limit) as shelf:
            kept: dict[str, None] = {}

            def keep(name: str, tensor: torch.Tensor | None) -> None:
                if tensor is None:
                    kept.pop(name, None)
                    shelf.drop(name)
                else:
                    kept[name] = None
                    shelf.put(name, to_array(as_written(tensor)))

            if self._program is not None and inner:
                fx.run(self._program, self._tensors(feed), inner, keep)
                outputs = self._leg.run(feed) if ends else {}
            elif inner or ends:
                with scopes.watched(self._model.module, inner, self._vanished, keep):
                    outputs = self._leg.run(feed)
            for name in list(kept):
                yield name, shelf.get(name)
                shelf.drop(name)
        yield from ((name, array) for name, array in self._renamed(outputs) if name in ends)

    def _renamed(self, outputs: Arrays) -> Named:
        if not outputs:
            return
        names, note = pair_outputs(list(outputs), self._graph.outputs, self._output_names)
        self._names = names
        if note and note not in self.notes:
            self.notes.append(note)
        yield from renamed(outputs, names).items()

    @property
    def comparable(self) -> list[str]:
        """Names of the tensors of the file that depend on an input."""
        return self._graph.comparable

    def again(self, feed: Arrays) -> Again:
        """The module exported again, once it has run.

        Args:
            feed: Array by input name.

        Raises:
            TripointError: If the exporter refuses.
        """
        return export_again(
            self._model, self._graph, feed, self._parameters, self._names, self._ranges
        )

    def weights(self) -> Arrays:
        """Parameters and buffers of the module, by their names, which exporters keep."""
        return {name: to_array(each) for name, each in self._model.module.state_dict().items()}

    def _located(self, wanted: set[str], feed: Arrays) -> dict[str, str]:
        """Return the places in the module of those wanted tensors that can be had."""
        if not wanted:
            return {}
        if self._places is None:
            self._places = self._find_places(feed)
        return {name: place for name, place in self._places.items() if name in wanted}

    def _find_places(self, feed: Arrays) -> dict[str, str]:
        count = len(self._graph.comparable)
        recorded = fx.recorded(self._graph)
        why = "the export recorded no FX nodes"
        if recorded:
            try:
                program, matched = self._capture(feed, recorded)
                share = len(matched) / len(recorded)
                if share >= _ENOUGH:
                    self._program = program
                    located = fx.places(self._graph, program, matched)
                    self.resolution = f"{len(located)} of {count} tensors, by FX node"
                    return located
                why = f"only {share:.0%} of the recorded FX nodes are in the module of today"
            except TripointError as error:
                why = error.fact
        self._vanished = scopes.vanished(self._graph, self._model.module)
        located = scopes.places(self._graph, self._model.module)
        self.resolution = f"{len(located)} of {count} tensors, by module scope, since {why}"
        return located

    def _capture(
        self, feed: Arrays, recorded: Mapping[str, str]
    ) -> tuple[torch.export.ExportedProgram, frozenset[str]]:
        """The module's graph that is most like the recorded one, and the nodes they share.

        The file does not tell the ranges that it was exported with, and the graph depends on them.
        """
        specs = self._graph.specs
        dims = {self._parameters.get(name, name): shape for name, (_, shape) in specs.items()}
        sizes = bindings_of(specs, feed)
        # A size of 1 would be taken for a constant.
        larger = {symbol: max(2, size) for symbol, size in sizes.items()}
        arrays = feed
        if larger != sizes:
            arrays = generate(specs, larger, 0, model=self._graph.model)
        bounded = dict.fromkeys(larger, (1, _LARGE))
        guesses = [{**bounded, **self._ranges}, bounded, {}]
        best: tuple[torch.export.ExportedProgram, frozenset[str]] | None = None
        refusal: TripointError | None = None
        for ranges in [each for at, each in enumerate(guesses) if each not in guesses[:at]]:
            try:
                program = capture(self._model, self._tensors(arrays), dims, ranges)
            except TripointError as error:
                refusal = error
                continue
            matched = fx.matching(recorded, program)
            if best is None or len(matched) > len(best[1]):
                best = program, matched
            if len(matched) == len(recorded):
                break
        if best is None:
            raise refusal or ExternalStepError("the module gives no graph")
        return best

    def _tensors(self, feed: Arrays) -> dict[str, torch.Tensor]:
        device = self._leg.torch_device
        return {
            self._parameters.get(name, name): to_tensor(feed[name]).to(device)
            for name in self._graph.specs
        }
