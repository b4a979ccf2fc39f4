"""Legs of a model that can be timed, with their needs, or the reasons against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tripoint.engine import manifest
from tripoint.errors import TripointError, UsageError
from tripoint.model import Model
from tripoint.progress import Progress
from tripoint.spec import Spec
from tripoint.trt import bindings, gpu

PYTORCH = "PyTorch"
COMPILED = "PyTorch (torch.compile)"
ONNX_RUNTIME = "ONNX Runtime"
EXPORTED = "TensorRT (exported graph)"
FIXED = "TensorRT (fixed graph)"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A leg that may be timed, or why it is not.

    Args:
        name: As reports call it.
        request: What the child needs to make it, None if it is not to be timed.
        reason: Why it is not.
        failed: Whether something was tried and failed.
    """

    name: str
    request: Mapping[str, Any] | None = None
    reason: str | None = None
    failed: bool = False


def torch_legs(
    reference: str | None,
    inputs: Sequence[str],
    notes: list[str],
    names: Sequence[str] | None = None,
) -> list[Candidate]:
    """PyTorch, eager and compiled.

    Args:
        reference: ``file.py:name``, None if there is no module.
        inputs: Input names of the ONNX model.
        notes: Takes what was assumed.
        names: What the ONNX file calls the inputs of the module, in order.

    Raises:
        UsageError: If it is no such reference, or its parameters are not the inputs.
        InputError: If the file does not exist.
    """
    legs = (PYTORCH, COMPILED)
    if reference is None:
        return [Candidate(name, reason="no PyTorch module was given") for name in legs]
    from tripoint.sources.named import as_torch
    from tripoint.sources.pairing import pair_inputs
    from tripoint.sources.reference import parse

    # What is no reference is a mistake of the caller; what it leads to is a matter of this leg.
    parse(reference)
    try:
        parameters, note = pair_inputs(as_torch(reference), inputs, names)
    except UsageError:
        raise
    except TripointError as error:
        return [Candidate(name, reason=error.fact, failed=True) for name in legs]
    notes += [note] if note else []
    common = {"kind": "torch", "reference": reference, "names": parameters}
    return [Candidate(name, {**common, "compiled": name == COMPILED}) for name in legs]


def engine_legs(
    model: Model,
    engines: Sequence[Path],
    spec: Spec,
    tensorrt: str | None,
    folder: Path,
    timeout: float | None,
    progress: Progress,
) -> list[Candidate]:
    """The engines that were given, or those of the exported and of the fixed graph.

    Args:
        model: The ONNX model.
        engines: The plans that were given.
        spec: Ranges to build with.
        tensorrt: Name of the importable TensorRT.
        folder: Where engines are built.
        timeout: Seconds for one build.
        progress: Takes a line at each step.
    """
    named = [(f"TensorRT ({path.name})", path) for path in engines]
    if len({name for name, _ in named}) < len(named):
        named = [(f"TensorRT ({path})", path) for path in engines]
    names = [name for name, _ in named] or [EXPORTED, FIXED]
    try:
        binding = bindings.find(tensorrt)
    except UsageError:
        raise
    except TripointError as error:
        return [Candidate(name, reason=error.fact) for name in names]
    absent = gpu.probe().reason
    if absent:
        return [Candidate(name, reason=f"no GPU to run it on: {absent}") for name in names]
    if not named:
        return _built(model, spec, binding.name, folder, timeout, progress)
    environment: Mapping[str, Any] | None = None
    legs = []
    for name, path in named:
        try:
            content = manifest.beside(path)
        except TripointError as error:
            legs.append(Candidate(name, reason=str(error), failed=True))
            continue
        mine = content.get("environment") or {}
        if environment is not None and mine != environment:
            reason = "it needs another environment than the engine before it; time it on its own"
            legs.append(Candidate(name, reason=reason))
            continue
        environment = mine
        legs.append(_engine_leg(name, path, binding.name, content))
    return legs


def _engine_leg(name: str, path: Path, tensorrt: str, content: Mapping[str, Any]) -> Candidate:
    return Candidate(
        name,
        {
            "kind": "engine",
            "plan": str(path.resolve()),
            "tensorrt": tensorrt,
            "tf32": content.get("flags", {}).get("tf32"),
            "environment": dict(content.get("environment") or {}),
        },
    )


def _built(
    model: Model,
    spec: Spec,
    tensorrt: str,
    folder: Path,
    timeout: float | None,
    progress: Progress,
) -> list[Candidate]:
    from tripoint import model as models
    from tripoint.api import building, rewriting

    legs = []
    for name in (EXPORTED, FIXED):
        path = folder / f"{'exported' if name == EXPORTED else 'fixed'}.plan"
        try:
            source = model
            if name == FIXED:
                progress("fix")
                result = rewriting.fix(model, target="installed", tensorrt=tensorrt, numeric=False)
                if not result.applied:
                    legs.append(Candidate(name, reason="fix changes nothing in this graph"))
                    continue
                source = models.save(result.model, folder / "fixed.onnx")
            progress(f"build {name}")
            built = building.build(source, path, spec=spec, tensorrt=tensorrt, timeout=timeout)
        except TripointError as error:
            legs.append(Candidate(name, reason=error.fact, failed=True))
        else:
            legs.append(_engine_leg(name, path, tensorrt, built.manifest))
    return legs
