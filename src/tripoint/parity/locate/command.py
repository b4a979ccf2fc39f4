"""The command that searches for the node behind a difference that a comparison found."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from tripoint.parity.failing import INPUTS
from tripoint.parity.results import FIXED, PYTORCH, TENSORRT, PointReport, Verification
from tripoint.shape_inference import shape_inputs

OWN_INPUTS = "inputs.npz"
"""Stands for a file that a person has."""


@dataclass(frozen=True)
class Compared:
    """What was compared, as a command line names it.

    Args:
        model: The ONNX file.
        torch: Reference to the module, None if there is none.
        fixed: The rewritten file.
        engine: The plan.
        inputs: Where inputs came from, None if they were generated.
        values: Values of ``--values`` that they were generated with.
        options: Further options that ``verify`` and ``locate`` share.
    """

    model: str
    torch: str | None = None
    fixed: str | None = None
    engine: str | None = None
    inputs: str | None = None
    values: Sequence[str] = ()
    options: Sequence[str] = ()


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
        words = ["tripoint", "verify", compared.model, *_legs(compared, None)]
        return shlex.join([*words, "--inputs", OWN_INPUTS, *compared.options])
    differing = [point for point in result.points if any(entry.wrong for entry in point.outputs)]
    # Which a person knows best.
    differing.sort(key=lambda point: not point.example)
    if not differing:
        return None
    ran = {leg.name for leg in result.legs if leg.status == "ran"}
    words = ["tripoint", "locate", compared.model]
    words += _legs(compared, ran)
    if result.failing is not None:
        words += ["--inputs", str(Path(result.failing.folder, INPUTS))]
    elif compared.inputs is not None:
        words += ["--inputs", compared.inputs]
    elif differing[0].example and compared.torch is not None:
        words += ["--inputs", compared.torch]
    else:
        words += _generated(differing[0], model, compared.values)
    return shlex.join([*words, *compared.options])


def _legs(compared: Compared, ran: Collection[str] | None) -> Iterator[str]:
    """The options that name legs; those that ran, or None for all."""
    for leg, option, given in (
        (PYTORCH, "--torch", compared.torch),
        (FIXED, "--fixed", compared.fixed),
        (TENSORRT, "--engine", compared.engine),
    ):
        if given is not None and (ran is None or leg in ran):
            yield from (option, given)


def _generated(point: PointReport, model: ir.Model, values: Sequence[str]) -> Iterator[str]:
    """The options that generate the inputs of a point again."""
    by_value = shape_inputs.find(model) if point.sizes else {}
    yield from _sizes(point.sizes, by_value)
    found = [f"{name}:{low:g}..{high:g}" for name, (low, high) in point.values.items()]
    for text in (*values, *found):
        yield from ("--values", text)
    if point.seed:
        yield from ("--seed", str(point.seed))


def _sizes(sizes: Mapping[str, int], by_value: Mapping[str, Sequence[str]]) -> Iterator[str]:
    told = {symbol for symbols in by_value.values() for symbol in symbols}
    for symbol, size in sizes.items():
        if symbol not in told:
            yield from ("--dim", f"{symbol}={size}")
    for name, symbols in by_value.items():
        if sizes.keys() >= set(symbols):
            listed = ",".join(str(sizes[symbol]) for symbol in symbols)
            yield from ("--input", f"{name}=[{listed}]")
