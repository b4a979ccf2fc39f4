"""The next step behind a failure of TensorRT: one that gets further with this model.

A hint that names a command is tried before it is printed: what ``tripoint fix`` would write is
parsed again, and what ``tripoint shapes`` would list is looked up.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.numeric.inputs import shapes_of
from tripoint.spec import Range, Spec
from tripoint.symbols import symbols_of
from tripoint.table import Refusal
from tripoint.trt import process
from tripoint.trt.messages import MEANINGS, Meaning

_MOST_NODES = 4000
"""Nodes up to which a model is rewritten to see whether that helps."""

_WITHOUT_1 = Range(2, 8, 32)

_FIX = "`tripoint fix MODEL -o FIXED.onnx` rewrites it; then build FIXED.onnx"


def after_refusal(
    model: Model, refused: Sequence[Refusal], meaning: Meaning | None, tensorrt: str
) -> str | None:
    """Return the next step after a TensorRT refused nodes; None if there is none.

    Args:
        model: What it refused.
        refused: Its refusals; the first one was told.
        meaning: What the message of the first one means, if that is known.
        tensorrt: Name of the TensorRT.

    Returns:
        The hint, or None where nothing is known that would help.
    """
    return _spelled(_after_refusal(model, refused, meaning, tensorrt), model)


def _after_refusal(
    model: Model, refused: Sequence[Refusal], meaning: Meaning | None, tensorrt: str
) -> str | None:
    if not refused:
        return None
    if _parses_further(model, tensorrt, refused[0]):
        return meaning.hint if meaning is not None and meaning.tries == "fix" else _FIX
    if meaning is not None:
        right = _ranges_that_help(model, tensorrt, refused[0]) if meaning.tries == "fix" else None
        return f"{meaning.otherwise}; or {right}" if right else _other(meaning, model)
    if len(refused) > 1:
        return f"`tripoint shapes MODEL` lists all {len(refused)} nodes that it refuses"
    return None


@contextlib.contextmanager
def tried(model: Model) -> Iterator[None]:
    """Let a build that fails end with a hint that gets further, or with another.

    Args:
        model: What is built.
    """
    try:
        yield
    except process.WorkerError as error:
        meaning = next((each for each in MEANINGS if each.hint == error.hint), None)
        if meaning is not None:
            fix = meaning.tries == "fix"
            helps = fix and _has_fewer_branches(model)
            error.hint = _spelled(meaning.hint if helps else _other(meaning, model), model)
        raise


def _spelled(hint: str | None, model: Model) -> str | None:
    """A hint with the file in place of MODEL, so that its command can be copied."""
    if hint is None or model.origin is None:
        return hint
    return hint.replace(" fix MODEL ", f" fix {shlex.quote(str(model.origin))} ")


def _other(meaning: Meaning, model: Model) -> str | None:
    return meaning.otherwise if meaning.tries == "fix" else _shown(meaning, model)


def _shown(meaning: Meaning, model: Model) -> str | None:
    """The hint, if the command in it has something to show."""
    if meaning.tries is None or meaning.tries == "fix" or _SHOWS[meaning.tries](model):
        return meaning.hint
    return meaning.otherwise


def _fixed(model: Model, spec: Spec | None = None) -> Model | None:
    """Return the model as ``fix`` rewrites it, without numeric proof; None if nothing changes."""
    from tripoint.profiles.constraints.legal import LegalSizes
    from tripoint.rewrites import fix
    from tripoint.rewrites.points import Points
    from tripoint.views.importers import SUPPORTED

    if model.nodes > _MOST_NODES:
        return None
    with contextlib.suppress(TripointError):
        legal = LegalSizes.of(model, spec) if spec is not None else None
        points = Points(legal.points(), ranges=legal.limits) if legal is not None else None
        result = fix.fix(model, points=points, target=SUPPORTED[-1], numeric=False)
        return result.model if result.applied else None
    return None


def _ranges_that_help(model: Model, tensorrt: str, refused: Refusal) -> str | None:
    """The command with ranges that leave 1 out, if what it writes parses further."""
    shapes = shapes_of(model).values()
    symbols = dict.fromkeys(
        symbol for shape in shapes for dim in shape for symbol in sorted(symbols_of(dim))
    )
    dims = [f"{symbol}={_WITHOUT_1}" for symbol in symbols]
    if not dims or not _parses_further(model, tensorrt, refused, Spec.parse(dims=dims)):
        return None
    said = " ".join(f"--dim {each}" for each in dims)
    return f"`tripoint fix MODEL -o FIXED.onnx {said}` if no size is ever 1; then build FIXED.onnx"


def _parses_further(
    model: Model, tensorrt: str, refused: Refusal, spec: Spec | None = None
) -> bool:
    """Return whether that TensorRT takes what ``fix`` writes, or refuses a later node first."""
    from tripoint.views import installed

    fixed = _fixed(model, spec)
    if fixed is None:
        return False
    with contextlib.suppress(TripointError):
        after = installed.view(fixed, tensorrt=tensorrt).refusals
        return not after or (after[0].node, after[0].op) != (refused.node, refused.op)
    return False


def _has_fewer_branches(model: Model) -> bool:
    fixed = _fixed(model)
    return fixed is not None and _branches(fixed) < _branches(model)


def _branches(model: Model) -> int:
    return sum(node.op_type == "If" for node in model.ir.graph.all_nodes())


def _has_frozen_sizes(model: Model) -> bool:
    from tripoint.shape_inference import truth

    return bool(truth.infer(model.ir).frozen)


def _has_sizes_of_data(model: Model) -> bool:
    from tripoint.shape_inference import truth

    return bool(truth.infer(model.ir).data_dependent)


_SHOWS: Mapping[str, Callable[[Model], bool]] = {
    "frozen": _has_frozen_sizes,
    "data-dependent": _has_sizes_of_data,
}
