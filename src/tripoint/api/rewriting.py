"""Rewriting a model, with proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tripoint.api.arguments import as_given, as_model

if TYPE_CHECKING:
    from tripoint.api.arguments import ModelLike
    from tripoint.model import Model
    from tripoint.rewrites.base import FixResult
    from tripoint.rewrites.points import Points
    from tripoint.spec import Spec


def fix(
    model: ModelLike,
    *,
    spec: Spec | None = None,
    target: str | None = None,
    tensorrt: str | None = None,
    select: Sequence[str] | None = None,
    unsafe: bool = False,
    numeric: bool = True,
    on_progress: Callable[[str], None] | None = None,
) -> FixResult:
    """Rewrite a model so that TensorRT understands it, with proof.

    Args:
        model: As :func:`tripoint.api.facts`; it is not changed.
        spec: Ranges of the symbols, for the numeric proof; without it sizes at which the model
            runs are looked for.
        target: As :func:`tripoint.api.facts`: whose lost dims are counted.
        tensorrt: As :func:`tripoint.api.facts`.
        select: Names of the rewrites to try, None for all.
        unsafe: Whether to try those as well that change results in a corner case.
        numeric: False leaves the numeric proof out, and the result says so.
        on_progress: Called with one line for each rewrite that is kept.

    Raises:
        UsageError: If a rewrite, target, symbol or range is unknown or impossible.
    """
    from tripoint.engine.constraints import separate
    from tripoint.rewrites import fix as fixing

    written = as_model(model)
    model = as_given(written, spec)
    return fixing.fix(
        model,
        separated=() if model is written else separate.renamed(written, model),
        points=_proof_points(model, spec),
        target=target,
        tensorrt=tensorrt,
        select=select,
        unsafe=unsafe,
        numeric=numeric,
        on_progress=on_progress,
    )


def _proof_points(model: Model, spec: Spec | None) -> Points | None:
    if spec is None or not (spec.inputs or spec.dims):
        return None
    from tripoint.engine.constraints.legal import LegalSizes
    from tripoint.rewrites.points import Points

    legal = LegalSizes.of(model, spec)
    return Points(tuple(legal.points()), ranges=legal.limits)
