"""Check that an export follows the ranges that were asked for, by running it at other sizes.

Both exporters may leave sizes of the example in the graph without a word: the dynamo exporter the
length of a sequence in nn.LSTM (PyTorch 2.13), the tracer every loop over a length. So one dim
after the other leaves the size of the example, and what ``forward`` returns there is held against
what ONNX Runtime makes of the graph.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tripoint.errors import TripointError
from tripoint.graph.source_lines import source_of
from tripoint.model import Model
from tripoint.numeric.dtypes import epsilon, of_ml_dtypes
from tripoint.numeric.ort import Session
from tripoint.numeric.torch_arrays import to_array
from tripoint.shape_inference import truth
from tripoint.sources.capture import captured
from tripoint.sources.example_inputs import InputPlan, tensors_at
from tripoint.sources.flatten import flatten
from tripoint.sources.python import TorchModel, describe_failure
from tripoint.symbols import symbols_of

if TYPE_CHECKING:
    from torch import Tensor

    from tripoint.table import Frozen

Arrays = list[np.ndarray[Any, Any]]

_SECONDS = 10.0
"""Longest time of ``forward`` on the example, if it is to be run again."""
_BYTES = 1 << 29
"""Largest size of weights, if ONNX Runtime is to load them."""
_APART = 0.01
"""Part of the largest number that an output may be off; a frozen size is off by far more."""
_ROUNDINGS = 4.0
"""Further deviation allowed, in its epsilon: bfloat16 is coarse."""


@dataclass(frozen=True, slots=True)
class Stayed:
    """A dim that was to range and stayed at the size of the example.

    Args:
        symbol: The dim.
        asked: Its range, as it was given.
        size: Its size in the example.
        what: What is wrong at which other size.
        where: The node that holds the size, if the shapes tell.
    """

    symbol: str
    asked: str
    size: int
    what: str
    where: str | None

    def __str__(self) -> str:
        where = f"; {self.where}" if self.where else ""
        return (
            f"{self.symbol} was asked to range {self.asked} and stayed {self.size}: "
            f"{self.what}{where}"
        )


@dataclass(frozen=True, slots=True)
class Held:
    """Result of running an export at other sizes.

    Args:
        stayed: The dims that do not follow.
        followed: The dims that were seen to follow.
        notes: Dims whose range ``forward`` itself does not take.
    """

    stayed: tuple[Stayed, ...] = ()
    followed: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def check(model: Model, module: TorchModel, plan: InputPlan) -> Held:
    """Run an export beside its module, where one dim has another size than in the example.

    Nothing is found, and nothing said, where ``forward`` takes long or the weights are large.
    Where the two differ on the example already, which is for a comparison to judge, only an
    output that keeps its shape while that of ``forward`` changes tells of a size that stayed.

    Args:
        model: What was exported.
        module: The module.
        plan: The inputs that it was exported with.
    """
    weights = (value.const_value for value in model.ir.graph.initializers.values())
    if not plan.symbols or sum(each.nbytes for each in weights if each is not None) > _BYTES:
        return Held()
    start = time.monotonic()
    try:
        example = _forward(module, plan.tensors)
        session = Session(model)
        if time.monotonic() - start > _SECONDS:
            return Held()
        outputs = session.run(_feed(session, plan.tensors))
    except Exception:  # noqa: BLE001 - forward may raise anything, and was run before
        return Held()
    agrees = _alike(outputs, example)
    sizes = {symbol: plan.size(symbol) for symbol in plan.symbols}
    frozen = truth.infer(model.ir).frozen
    stayed: list[Stayed] = []
    followed: set[str] = set()
    notes: list[str] = []
    for symbol, bounds in plan.symbols.items():
        of_symbol = [entry for entry in frozen if symbol in symbols_of(entry.expected)]
        where = _where(model, of_symbol[0]) if of_symbol else None
        for size in dict.fromkeys((bounds.min, bounds.max)):
            if size == sizes[symbol]:
                continue
            tensors = tensors_at(plan, {**sizes, symbol: size})
            try:
                expected = _forward(module, tensors)
            except Exception as error:  # noqa: BLE001 - as above
                if where:
                    failed = describe_failure(error)
                    notes.append(f"forward fails with {symbol} = {size}: {failed}; {where}")
                continue
            what = _difference(session, tensors, expected)
            if not agrees and not _stood(session, tensors, (outputs, example), expected):
                break
            if what and where:
                # The node says more than the words of the runtime.
                what = what.partition(": ")[0]
            if what is None:
                followed.add(symbol)
            else:
                what = f"at {symbol} = {size} {what}"
                stayed.append(Stayed(symbol, str(bounds), sizes[symbol], what, where))
            break
    return Held(tuple(stayed), frozenset(followed), tuple(notes))


def _forward(module: TorchModel, tensors: Mapping[str, Tensor]) -> Arrays:
    import torch

    with torch.no_grad(), captured():
        value = module(tensors)
    return [_array(tensor) for tensor in flatten(value).values()]


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    tensor = tensor.detach().cpu()
    foreign = of_ml_dtypes(str(tensor.dtype).removeprefix("torch."))
    array: np.ndarray[Any, Any] = (tensor.float() if foreign is not None else tensor).numpy()
    return array


def _feed(session: Session, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    taken = {name for name, _, _ in session.input_types}
    return {name: to_array(tensor) for name, tensor in tensors.items() if name in taken}


def _difference(session: Session, tensors: Mapping[str, Tensor], expected: Arrays) -> str | None:
    try:
        got = session.run(_feed(session, tensors))
    except TripointError as error:
        native = error.fact.rpartition("Status Message: ")[2].rpartition(" was false. ")[2]
        return f"the graph does not run: {native}"
    for name, one, other in zip(session.outputs, got, expected, strict=False):
        if one.shape != other.shape:
            return f"output {name} is {_shape(one.shape)}, and forward gives {_shape(other.shape)}"
        if not _alike([one], [other]):
            return f"output {name} has other numbers than forward gives"
    return None


def _stood(
    session: Session,
    tensors: Mapping[str, Tensor],
    before: tuple[Arrays, Arrays],
    expected: Arrays,
) -> bool:
    """Return whether an output has the shape that it had before, unlike that of ``forward``."""
    try:
        got = session.run(_feed(session, tensors))
    except TripointError:
        return False
    return any(
        then.shape == now.shape and example.shape != other.shape
        for then, now, example, other in zip(before[0], got, before[1], expected, strict=False)
    )


def _alike(got: Arrays, expected: Arrays) -> bool:
    if [each.shape for each in got] != [each.shape for each in expected]:
        return False
    for one, other in zip(got, expected, strict=True):
        a, b = (each.astype(np.complex128) for each in (one, other))
        apart = _APART + _ROUNDINGS * (epsilon(one.dtype) or 0.0)
        fits = np.isfinite(a) & np.isfinite(b)
        scale = np.abs(b[fits]).max(initial=0.0)
        if np.abs(a - b)[fits].max(initial=0.0) > apart * scale:
            return False
    return True


def _where(model: Model, entry: Frozen) -> str:
    named = (node for node in model.ir.graph.all_nodes() if node.name == entry.node)
    node = next(named, None)
    source = source_of(node) if node is not None else None
    line = f", {source}" if source else ""
    return f"node {entry.node!r} ({entry.op}{line}): {entry.reason}"


def _shape(shape: Sequence[int]) -> str:
    return str(tuple(shape))
