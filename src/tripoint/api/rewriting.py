"""Rewriting a model, with proof."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tripoint.api.arguments import as_given, as_model, feed_of
from tripoint.progress import Progress

if TYPE_CHECKING:
    from tripoint.api.arguments import ModelLike
    from tripoint.model import Model
    from tripoint.numeric.feed import Feed
    from tripoint.rewrites.base import FixResult
    from tripoint.rewrites.points import Points
    from tripoint.sources.python import TorchModel
    from tripoint.spec import Spec


def fix(
    model: ModelLike,
    *,
    spec: Spec | None = None,
    torch: str | TorchModel | None = None,
    inputs: str | os.PathLike[str] | Sequence[Mapping[str, Any]] | None = None,
    values: Mapping[str, tuple[float, float]] | None = None,
    input_names: Sequence[str] | None = None,
    target: str | None = None,
    tensorrt: str | None = None,
    select: Sequence[str] | None = None,
    unsafe: bool = False,
    numeric: bool = True,
    on_progress: Progress | None = None,
) -> FixResult:
    """Rewrite a model so that TensorRT understands it, with proof.

    Args:
        model: As :func:`tripoint.api.facts`; it is not changed.
        spec: Ranges of the symbols, for the numeric proof; without it sizes at which the model
            runs are looked for.
        torch: The module that it came from; inputs that are made up follow its examples.
        inputs: As :func:`tripoint.verify`: inputs at which the whole model is compared.
        values: As :func:`tripoint.verify`, for the whole model.
        input_names: What the ONNX file calls the inputs of the module, in order.
        target: As :func:`tripoint.api.facts`: whose lost dims are counted.
        tensorrt: As :func:`tripoint.api.facts`.
        select: Names of the rewrites to try, None for all.
        unsafe: Whether to try those as well that change results in a corner case. Where they
            are named in ``select`` this is needed, too.
        numeric: False leaves the numeric proof out, and the result says so.
        on_progress: Called with one line for each rewrite that is kept.

    Returns:
        The new model with proofs, refusals, and what remains lost.

    Raises:
        UsageError: If a rewrite, target, symbol or range is unknown or impossible, or the target
            is a recorded log.
        InputError: If shapes cannot be inferred.
    """
    from tripoint.profiles.constraints import separate
    from tripoint.rewrites import fix as fixing

    written = as_model(model)
    model = as_given(written, spec)
    feed = feed_of(model, torch, inputs, values, input_names)
    return fixing.fix(
        model,
        separated=() if model is written else separate.renamed(written, model),
        points=_proof_points(model, spec, feed),
        feed=feed,
        target=target,
        tensorrt=tensorrt,
        select=select,
        unsafe=unsafe,
        numeric=numeric,
        on_progress=on_progress,
    )


def _proof_points(model: Model, spec: Spec | None, feed: Feed) -> Points | None:
    from tripoint.numeric.inputs import bindings_of, inputs_of
    from tripoint.profiles.constraints.legal import LegalSizes
    from tripoint.rewrites.points import Points

    legal = LegalSizes.of(model, spec) if spec is not None and (spec.inputs or spec.dims) else None
    ranges = legal.limits if legal is not None else {}
    if feed.arrays:
        specs = inputs_of(model)
        sizes = tuple(bindings_of(specs, arrays) for arrays in feed.arrays)
        return Points(sizes, ranges=ranges, feed=feed)
    return Points(tuple(legal.points()), ranges=ranges, feed=feed) if legal is not None else None


def says_otherwise(model: Model) -> tuple[str, ...]:
    """Return a sentence on rewrites that express what TensorRT ignores, if there are any."""
    from tripoint.rewrites.base import Replacement, Site
    from tripoint.rewrites.rules import explicit_pads, needless_ceil, time_first
    from tripoint.shape_inference import truth
    from tripoint.table import Target

    rewrites = [each.REWRITE for each in (explicit_pads, needless_ceil, time_first)]
    if not any(each.may_match(node) for node in model.ir.graph for each in rewrites):
        return ()
    copy = model.ir.clone()
    truth.annotate(copy)
    site = Site(copy, Target("installed", "installed", ""), {})
    fitting = [
        each.name
        for each in rewrites
        if each.find is not None
        and any(
            isinstance(each.find(node, site), Replacement)
            for node in list(copy.graph)
            if each.may_match(node)
        )
    ]
    if not fitting:
        return ()
    names = ", ".join(fitting)
    return (f"`tripoint fix MODEL -o FIXED.onnx` says that otherwise, by {names}; build that",)
