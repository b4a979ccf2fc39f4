"""Legs at work: started once, asked for one result after the other, allowed to fail."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tripoint.errors import ExternalStepError, MissingDependencyError, TripointError
from tripoint.numeric.dtypes import epsilon
from tripoint.numeric.inputs import Arrays
from tripoint.parity.compare import OutputComparison
from tripoint.parity.legs import Leg
from tripoint.parity.noise import Noise
from tripoint.parity.results import PYTORCH, LegReport
from tripoint.parity.rounded import Rounded
from tripoint.parity.ties import Point, Settled, Ties
from tripoint.parity.wide import Wide
from tripoint.sources.pairing import pair_outputs, renamed
from tripoint.tolerance.derivation import Budget, Products, Rounding, Tolerance, products_of
from tripoint.tolerance.sensitivity import Sensitivity

_Known = tuple[Mapping[str, "np.ndarray[Any, Any]"], Point | None]

_MOST_ELEMENTS = 1 << 23
_MOST_BYTES = 1 << 27
"""Of the weights, which those runs take as a copy."""
_ENOUGH = 256
_GROWN = 2
"""Outputs of fewer elements are measured again where they have so many times as many."""
_TIMES = {Products.ROUNDED: 4.0, Products.TF32: 3.0}
"""How many times as far as it is off from float64 another result may lie. Of TF32 both ways to
round operands are tried."""
_MANY = 8
"""Elements off by the size of the largest error, of which that is as good as known."""
_HOPELESS = 2
"""Failures at the start after which a leg is not asked again."""


def close(entry: OutputComparison) -> bool:
    """Return whether an output agrees, but by so little that float64 may tell whether it should."""
    if entry.wrong or entry.excess is None or entry.tolerance is None:
        return False
    return entry.excess > entry.tolerance.least


class Run:
    """One leg on its way through all inputs.

    Args:
        leg: What to run.
        cases: The inputs, in the order in which results are asked for.
    """

    def __init__(self, leg: Leg, cases: Sequence[Arrays]) -> None:
        self.leg = leg
        self._results: Iterator[Arrays] = leg.run_many(cases)
        self._asked = 0
        self._failures: list[tuple[str, TripointError]] = []
        self._excused: set[str] = set()

    @property
    def hopeless(self) -> bool:
        """Return whether it has done nothing but fail."""
        return len(self._failures) == self._asked >= _HOPELESS

    def next(self, place: str) -> Arrays | None:
        """The next result; None if the leg fails.

        Args:
            place: What a report should say of where it failed.
        """
        if self.hopeless:
            return None
        self._asked += 1
        try:
            result = next(self._results, None)
        except TripointError as error:
            self._failures.append((place, error))
            return None
        if result is None:
            # An iterator that has raised is at its end, and the first error says why.
            short = ExternalStepError("it gave fewer results than it got inputs")
            self._failures.append((place, self._failures[0][1] if self._failures else short))
        return result

    def failure(self) -> str:
        """Return the last failure."""
        return self._failures[-1][1].fact if self._failures else ""

    def excuse(self, place: str) -> None:
        """Count a failure there as no failure: no leg runs there."""
        self._excused.add(place)

    def report(self) -> LegReport:
        """Return the report of the leg."""
        failures = [entry for entry in self._failures if entry[0] not in self._excused]
        if not failures:
            leg = self.leg
            return LegReport(leg.name, "ran", leg.version, leg.device, None, leg.tf32)
        place, error = failures[0]
        missing = isinstance(error, MissingDependencyError)
        somewhere = len(self._failures) < self._asked
        reason = f"at {place}: {error.fact}" if somewhere else error.fact
        return LegReport(self.leg.name, "not run" if missing else "failed", reason=reason)


class Runs:
    """All legs side by side.

    Args:
        runs: One for each leg, all over the same inputs.
        budget: Where tolerances come from.
        sensitivity: Where what is allowed beyond them comes from.
        rounded: What tells what short types cost.
        noise: Where what is allowed in their place comes from.
        wide: What tells how far ONNX Runtime is off from float64.
        outputs: Output names of the ONNX model.
        output_names: What the user calls the outputs of the PyTorch module.
        rounding: By leg what its precision was measured to cost.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        budget: Budget,
        sensitivity: Sensitivity,
        rounded: Rounded,
        noise: Noise,
        wide: Wide,
        outputs: Sequence[str],
        output_names: Sequence[str] | None,
        rounding: Mapping[str, Rounding] | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._runs = runs
        self._budget = budget
        self._sensitivity = sensitivity
        self._ties = Ties(sensitivity)
        self._last: tuple[Arrays, Products, _Known] | None = None
        self._rounded = rounded
        self._noise = noise
        self._wide = wide
        self._off: dict[tuple[str, Products], tuple[float, ...]] = {}
        self._elements: dict[Products, int] = {}
        self._outputs = outputs
        self._output_names = output_names
        self._rounding = rounding or {}
        self._renamed: dict[str, str] | None = None

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def next(self, run: Run, place: str) -> Arrays | None:
        """The next result of one leg, under the names to compare; None if it fails."""
        arrays = run.next(place)
        if arrays is None or run.leg.name != PYTORCH:
            return arrays
        return self._rename(arrays)

    def allowed(
        self,
        reference: Arrays,
        bindings: Mapping[str, int],
        *legs: str,
        inputs: Arrays | None = None,
        once: bool = False,
    ) -> dict[str, Tolerance]:
        """Tolerances for a comparison between some legs.

        Args:
            reference: Array by output name.
            bindings: Size of each input symbol.
            *legs: Names of the legs.
            inputs: What the reference was computed from, to allow what roundings are measured to
                cost there; None to keep to what is known.
            once: Whether the reference is what ONNX Runtime computes, and is not run again.
        """
        products = self._products(legs)
        rounding = next((self._rounding[leg] for leg in legs if leg in self._rounding), None)
        if inputs is None:
            return self._budget.allowed(
                reference,
                bindings,
                products=products,
                rounding=rounding,
                rounded=dict.fromkeys(reference),
            )
        self._elements[products] = max(_size(reference), self._elements.get(products, 0))

        @functools.cache
        def moved() -> dict[str, np.ndarray[Any, Any]]:
            alone = once and not self._ties.any
            every = (
                self._sensitivity.once(reference, inputs, bindings, products)
                if alone
                else self._tied(inputs, bindings, products)[0]
            )
            return {
                name: each
                for name, each in every.items()
                if name in reference and reference[name].shape == each.shape
            }

        return self._budget.allowed(
            reference,
            bindings,
            products=products,
            rounding=rounding,
            noise=self._noise.at(inputs, bindings, products) if rounding is None else None,
            moved=moved,
            rounded=self._rounded.at(inputs),
        )

    def sharpened(
        self,
        allowed: Mapping[str, Tolerance],
        own: Arrays,
        bindings: Mapping[str, int],
        *legs: str,
        inputs: Arrays,
    ) -> dict[str, Tolerance]:
        """The same tolerances, less where float64 says that the reference is off by less.

        Args:
            allowed: By output name.
            own: What ONNX Runtime computes, array by output name.
            bindings: Size of each input symbol.
            *legs: Names of the legs that are compared.
            inputs: What both were computed from.
        """
        products = self._products(legs)
        if products not in _TIMES or any(leg in self._rounding for leg in legs):
            return dict(allowed)
        tolerances = dict(allowed)
        for name, errors in self._wide.errors(own, inputs, bindings, products).items():
            tolerance, eps = allowed.get(name), epsilon(own[name].dtype)
            if tolerance is None or tolerance.parts is None or eps is None:
                continue
            parts, key = tolerance.parts, (name, products)
            most = parts.largest(errors)
            large = parts.moving(errors > np.asarray(parts.spread(most)) / _MANY)
            off = [
                error / scale * max(1.0, _MANY / max(1, count))
                for error, scale, count in zip(most, parts.scales, large, strict=True)
            ]
            before = self._off.get(key, ())
            if len(before) == len(off):
                off = [max(pair) for pair in zip(before, off, strict=True)]
            self._off[key] = tuple(off)
            times = _TIMES[products]
            limits = [times * share * scale for share, scale in zip(off, parts.scales, strict=True)]
            tolerances[name] = tolerance.capped(limits, times, eps)
        return tolerances

    def to_measure(self, reference: Arrays, *legs: str) -> bool:
        """Return whether roundings should be measured there before two legs are compared.

        They are once, and again where an output has many more elements, whose largest tells more.

        Args:
            reference: Array by output name.
            *legs: Names of the legs.
        """
        products = self._products(legs)
        if products is Products.TENSOR_CORES or any(leg in self._rounding for leg in legs):
            return False
        size, before = _size(reference), self._elements.get(products)
        grown = before is None or before < min(_ENOUGH, size // _GROWN)
        return grown and self.measurable(reference)

    def _products(self, legs: Sequence[str]) -> Products:
        return products_of(run.leg for run in self._runs if run.leg.name in legs)

    def measurable(self, outputs: Arrays) -> bool:
        """Return whether the runs that tell what errors of the sums cost are cheap in memory.

        Args:
            outputs: What the graph computes, as these runs do several times.
        """
        return _size(outputs) <= _MOST_ELEMENTS and self._sensitivity.bytes <= _MOST_BYTES

    def settled(
        self,
        reference: Arrays,
        other: Arrays,
        bindings: Mapping[str, int],
        *legs: str,
        inputs: Arrays,
        wrong: Sequence[str],
    ) -> Settled | None:
        """The reference with the ties of another leg in it; None if ties explain nothing.

        Args:
            reference: Array by output name.
            other: Array by output name.
            bindings: Size of each input symbol.
            *legs: Names of the legs.
            inputs: What both were computed from.
            wrong: Names of the outputs that differ.
        """
        if not self._ties.any:
            return None
        products = self._products(legs)
        point = self._tied(inputs, bindings, products)[1]
        if point is None:
            return None
        return point.settle(
            reference,
            other,
            lambda arrays: self.allowed(arrays, bindings, *legs, inputs=inputs),
            wrong,
        )

    def _tied(self, inputs: Arrays, bindings: Mapping[str, int], products: Products) -> _Known:
        if self._last is None or self._last[0] is not inputs or self._last[1] != products:
            self._last = inputs, products, self._ties.at(inputs, bindings, products)
        return self._last[2]

    def other_order(self, places: Mapping[str, str]) -> str | None:
        """Return the names that match PyTorch's outputs, in order; None if nothing was renamed.

        Args:
            places: For each output that is out of place, the name whose values it holds.
        """
        names = self._renamed or {}
        if self._output_names is not None or all(own == other for own, other in names.items()):
            return None
        holder = {held: name for name, held in places.items()}
        return ",".join(holder.get(name, name) for name in names.values())

    def _rename(self, arrays: Arrays) -> Arrays:
        if self._renamed is None:
            self._renamed, note = pair_outputs(list(arrays), self._outputs, self._output_names)
            self.notes += [note] if note else []
        return renamed(arrays, self._renamed)


def _size(arrays: Arrays) -> int:
    return sum(array.size for array in arrays.values())
