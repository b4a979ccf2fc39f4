"""Deviations once more, as ``verify`` judges: with what errors of sums move, and with ties told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.numeric.inputs import Arrays
from tripoint.parity.locate.deviation import Deviation, measure
from tripoint.parity.ties import Ties
from tripoint.tolerance.derivation import Products, Tolerance
from tripoint.tolerance.sensitivity import Sensitivity

Array = np.ndarray[Any, Any]


def settled(
    graph: ir.Model,
    inputs: Arrays,
    bindings: Mapping[str, int],
    products: Products,
    legs: tuple[Arrays, Arrays],
    deviations: Mapping[str, Deviation],
    allowed: Callable[[str, Array, Array | None], Tolerance],
) -> dict[str, Deviation]:
    """Deviations where some are too large, judged once more.

    Args:
        graph: What both legs compute; its values carry their true shapes.
        inputs: Array by input name.
        bindings: Size of each input symbol.
        products: How the less precise leg computes float32 products.
        legs: Outputs of the reference and of the other leg, by name.
        deviations: What was measured, by output name.
        allowed: What to allow by name, by values of the reference, and by what errors move them.

    Returns:
        The same where nothing is known of the graph. An output that differs by exact ties still
        does, and says so.
    """
    ties = Ties(Sensitivity(graph))
    moved, point = ties.at(inputs, bindings, products)

    def spread(arrays: Arrays) -> dict[str, Tolerance]:
        fitting = {n: moved[n] for n in arrays if n in moved and moved[n].shape == arrays[n].shape}
        return {name: allowed(name, each, fitting.get(name)) for name, each in arrays.items()}

    reference, other = legs
    tolerances = spread({name: reference[name] for name in deviations})
    by_output = {
        name: each if each.agrees else measure(reference[name], other[name], tolerances[name])
        for name, each in deviations.items()
    }
    wrong = [name for name, each in by_output.items() if not each.agrees]
    outcome = point.settle(reference, other, spread, wrong) if point is not None and wrong else None
    for name, tie in (outcome.ties if outcome is not None else {}).items():
        if outcome is None or name not in by_output:
            continue
        within = outcome.reference[name]
        each = measure(within, other[name], spread({name: within})[name])
        if each.agrees and tie.rule:
            each = replace(measure(reference[name], other[name], each.tolerance), tied=True)
        by_output[name] = replace(each, detail=tie.said)
    return by_output
