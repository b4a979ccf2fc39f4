"""The command that searches for the node behind a difference that a comparison found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from tripoint import commands
from tripoint.parity.failing import INPUTS
from tripoint.parity.results import FIXED, PYTORCH, TENSORRT, PointReport, Verification
from tripoint.shape_inference import shape_inputs

OWN_INPUTS = "inputs.npz"
"""Stands for a file that a person has."""


@dataclass(frozen=True)
class Compared:
    """Subjects of a comparison, as a command line names them.

    Args:
        model: The ONNX file.
        torch: Reference to the module, None if there is none.
        fixed: The rewritten file.
        engine: The plan.
        inputs: Where inputs came from, None if they were generated.
        values: Values of ``--values`` that they were generated with.
        options: Further arguments that ``verify`` and ``locate`` share, as
            :func:`tripoint.commands.options` has them.
    """

    model: str
    torch: str | None = None
    fixed: str | None = None
    engine: str | None = None
    inputs: str | None = None
    values: Sequence[str] = ()
    options: Mapping[str, object] = field(default_factory=dict)


def next_command(result: Verification, model: ir.Model, compared: Compared) -> str | None:
    """The ``tripoint locate`` that compares the same legs at the first point that differs.

    Where the inputs that were made up do not suit the model, the ``tripoint verify`` that takes
    others.

    Args:
        result: What the comparison found.
        model: The graph of the ONNX file.
        compared: What was compared.

    Returns:
        The command; None if no outputs differ, as where a leg differs from itself only.
    """
    if result.unsuited and result.verdict == "unproven":
        legs = _legs(compared, None)
        shared = compared.options
        return commands.command("verify", compared.model, **legs, inputs=OWN_INPUTS, **shared)
    differing = [point for point in result.points if any(entry.wrong for entry in point.outputs)]
    # Which a person knows best.
    differing.sort(key=lambda point: not point.example)
    if not differing:
        return None
    ran = {leg.name for leg in result.legs if leg.status == "ran"}
    fed: dict[str, object]
    if result.failing is not None:
        fed = {"inputs": Path(result.failing.folder, INPUTS)}
    elif compared.inputs is not None:
        fed = {"inputs": compared.inputs}
    elif differing[0].example and compared.torch is not None:
        fed = {"inputs": compared.torch}
    else:
        fed = _generated(differing[0], model, compared.values)
    legs, shared = _legs(compared, ran), compared.options
    return commands.command("locate", compared.model, **legs, **fed, **shared)


def _legs(compared: Compared, ran: Collection[str] | None) -> dict[str, object]:
    """The arguments that name legs; those that ran, or None for all."""
    legs = {PYTORCH: "torch", FIXED: "fixed", TENSORRT: "engine"}
    return {
        argument: getattr(compared, argument)
        for leg, argument in legs.items()
        if ran is None or leg in ran
    }


def _generated(point: PointReport, model: ir.Model, values: Sequence[str]) -> dict[str, object]:
    """The arguments that generate the inputs of a point again."""
    sizes, by_value = point.sizes, shape_inputs.find(model) if point.sizes else {}
    told = {symbol for symbols in by_value.values() for symbol in symbols}
    ranges = [f"{name}:{low:g}..{high:g}" for name, (low, high) in point.values.items()]
    return {
        "dim": [f"{symbol}={size}" for symbol, size in sizes.items() if symbol not in told],
        "input": [
            f"{name}=[{','.join(str(sizes[symbol]) for symbol in symbols)}]"
            for name, symbols in by_value.items()
            if sizes.keys() >= set(symbols)
        ],
        "values": [*values, *ranges],
        "seed": point.seed or None,
    }
