"""Legs at work: started once, asked for one result after the other, allowed to fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tripoint.errors import ExternalStepError, MissingDependencyError, TripointError
from tripoint.numeric.inputs import Arrays
from tripoint.parity.legs import Leg
from tripoint.parity.pairing import pair_outputs
from tripoint.parity.results import PYTORCH, LegReport
from tripoint.parity.tolerance import Budget, Tolerance


class Run:
    """One leg on its way through all inputs.

    Args:
        leg: What to run.
        cases: The inputs, in the order in which results are asked for.
    """

    def __init__(self, leg: Leg, cases: Sequence[Arrays]) -> None:
        self.leg = leg
        self._results: Iterator[Arrays] = leg.run_many(cases)
        self._error: TripointError | None = None

    def next(self) -> Arrays | None:
        """The next result; None once the leg has failed."""
        if self._error is not None:
            return None
        try:
            result = next(self._results, None)
        except TripointError as error:
            self._error = error
            return None
        if result is None:
            self._error = ExternalStepError("it gave fewer results than it got inputs")
        return result

    def report(self) -> LegReport:
        """How it went."""
        if self._error is None:
            leg = self.leg
            return LegReport(leg.name, "ran", leg.version, leg.device, None, leg.tf32)
        missing = isinstance(self._error, MissingDependencyError)
        return LegReport(self.leg.name, "not run" if missing else "failed", reason=self._error.fact)


class Runs:
    """All legs side by side.

    Args:
        runs: One for each leg, all over the same inputs.
        budget: Where tolerances come from.
        outputs: Output names of the ONNX model.
        output_names: What the user calls the outputs of the PyTorch module.
        rounding: By leg and output the largest error that its precision was measured to make.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        budget: Budget,
        outputs: Sequence[str],
        output_names: Sequence[str] | None,
        rounding: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._runs = runs
        self._budget = budget
        self._outputs = outputs
        self._given = output_names
        self._rounding = rounding or {}
        self._renamed: dict[str, str] | None = None

    def next(self) -> dict[str, Arrays]:
        """The next result of every leg that has not failed, by leg."""
        results = {run.leg.name: run.next() for run in self._runs}
        found = {name: arrays for name, arrays in results.items() if arrays is not None}
        if PYTORCH in found:
            found[PYTORCH] = self._rename(found[PYTORCH])
        return found

    def allowed(
        self, reference: Arrays, bindings: Mapping[str, int], *legs: str
    ) -> dict[str, Tolerance]:
        """Tolerances for a comparison between some legs."""
        tf32 = any(run.leg.tf32 for run in self._runs if run.leg.name in legs)
        rounding = next((self._rounding[leg] for leg in legs if leg in self._rounding), None)
        return self._budget.allowed(reference, bindings, tf32=tf32, rounding=rounding)

    def reports(self) -> list[LegReport]:
        """How each leg went."""
        return [run.report() for run in self._runs]

    def _rename(self, arrays: Arrays) -> Arrays:
        if self._renamed is None:
            self._renamed, note = pair_outputs(list(arrays), self._outputs, self._given)
            self.notes += [note] if note else []
        return {self._renamed.get(name, name): array for name, array in arrays.items()}
