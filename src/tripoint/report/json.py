"""The JSON form of every result. Keys are stable; new keys are minor versions."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tripoint import __version__
from tripoint.engine.builder import BuildResult
from tripoint.engine.inspect import PlanInspection
from tripoint.facts.table import Chain, Source, TensorFacts, TensorTable
from tripoint.model import Model
from tripoint.packages import version
from tripoint.parity.results import Verification
from tripoint.report.headline import headline
from tripoint.rewrites.base import FixResult

if TYPE_CHECKING:
    from tripoint.parity.locate.precision import Ranking
    from tripoint.parity.locate.results import Location
    from tripoint.pipeline import RunResult

SCHEMA_VERSION = "1.0"

_PACKAGES = ("onnx", "onnx-ir", "onnxscript", "onnx-shape-inference", "onnxruntime", "torch")


def dumps(document: Mapping[str, Any]) -> str:
    """The document as text, in the order of its keys; NaN and infinity become strings."""
    return json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False)


def envelope(command: str, model: Model | None = None) -> dict[str, Any]:
    """What every document begins with.

    Args:
        command: The command whose result it is.
        model: The model that it is about.
    """
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "tool": {"name": "tripoint", "version": __version__},
        "environment": {
            "python": platform.python_version(),
            "platform": platform.platform(terse=True),
            **{name: found for name in _PACKAGES if (found := version(name))},
        },
    }
    if model is not None:
        document["model"] = {
            "path": str(model.path) if model.path else None,
            "sha256": model.sha256,
            "opset": model.opset,
            "nodes": model.nodes,
        }
    return document


def shapes(table: TensorTable) -> dict[str, Any]:
    """The tensor table."""
    return {
        "target": dataclasses.asdict(table.target),
        "inputs": [_port(table.by_name[name]) for name in table.inputs],
        "outputs": [_port(table.by_name[name]) for name in table.outputs if name in table.by_name],
        "tensors": [tensor(facts) for facts in table.tensors],
        "refusals": [dataclasses.asdict(refusal) for refusal in table.refusals],
        "layers": table.layers,
        "contradictions": table.contradictions,
        "frozen": [dataclasses.asdict(entry) for entry in table.frozen],
        "bounds": [dataclasses.asdict(entry) for entry in table.bounds],
        "notes": table.notes,
        "layers_of": dict(table.layers_of),
        "summary": dataclasses.asdict(table.summary),
    }


def tensor(facts: TensorFacts) -> dict[str, Any]:
    """One row of the table."""
    return {
        "name": facts.name,
        "op": facts.op,
        "node": facts.node,
        "dtype": facts.dtype,
        "shape": facts.shape,
        "declared": facts.declared,
        "tensorrt": facts.tensorrt,
        "lost": facts.lost,
        "differs": facts.differs,
        "role": facts.role,
        "source": facts.source,
    }


def chain(value: Chain) -> dict[str, Any]:
    """Why one tensor lost dimensions."""
    return {
        "tensor": value.tensor,
        "origin": value.origin,
        "misread": value.misread,
        "chain": [
            {
                "node": step.node,
                "op": step.op,
                "tensor": step.tensor,
                "reason": step.reason,
                "source": step.source,
            }
            for step in value.back
        ],
        "reaches": value.reaches,
    }


def explained(value: Chain) -> dict[str, Any]:
    """As :func:`chain`, with what the target refuses, and what is frozen, on the way to it."""
    return {
        **chain(value),
        "refusals": [dataclasses.asdict(refusal) for refusal in value.refusals],
        "frozen": [dataclasses.asdict(entry) for entry in value.frozen],
    }


def fix(result: FixResult) -> dict[str, Any]:
    """The outcome of the rewrites."""
    return {
        "applied": [dataclasses.asdict(entry) for entry in result.applied],
        "refused": [dataclasses.asdict(entry) for entry in result.refused],
        "remaining": [dataclasses.asdict(entry) for entry in result.remaining],
        "before": dataclasses.asdict(result.before),
        "after": dataclasses.asdict(result.after),
        "renamed": dict(result.renamed),
        "proof": dataclasses.asdict(result.proof) if result.proof else None,
        "proven": result.proven,
    }


def build(result: BuildResult) -> dict[str, Any]:
    """A built engine."""
    return {
        "engine": {
            "path": str(result.engine),
            "bytes": result.bytes,
            "sha256": result.sha256,
        },
        "manifest": result.manifest,
        "network": result.network,
        "profile": result.profiles[0].inputs if result.profiles else [],
        "profiles": [profile.inputs for profile in result.profiles],
        "warnings": result.warnings,
    }


def plan(result: PlanInspection) -> dict[str, Any]:
    """What is known of a plan."""
    from tripoint.report.layers import contents_json

    return {
        "engine": {
            "path": str(result.path),
            "bytes": result.bytes,
            "sha256": result.sha256,
        },
        "loaded": result.loaded,
        "differences": result.differences,
        "rebuild": result.rebuild,
        "network": result.network,
        "contents": contents_json(result.contents),
        "manifest": result.manifest,
    }


def verification(result: Verification) -> dict[str, Any]:
    """The verdict with all that it rests on."""
    said = "; ".join(line.strip() for line in headline(result))
    return {"headline": said, **_plain(result)}


def location(result: Location) -> dict[str, Any]:
    """Where two legs part."""
    return dict(_plain(result))


def ranking(result: Ranking) -> dict[str, Any]:
    """What a lower precision costs, node by node."""
    return dict(_plain(result))


def run(result: RunResult) -> dict[str, Any]:
    """Everything that the main job found out."""
    return {
        "notes": result.notes,
        "before": {
            **shapes(result.fix.facts_before.table),
            "chains": [chain(entry) for entry in result.fix.facts_before.table.chains],
            "network": result.network_before,
        },
        "fix": fix(result.fix),
        "after": {
            **shapes(result.fix.facts_after.table),
            "chains": [chain(entry) for entry in result.fix.facts_after.table.chains],
            "network": result.network_after,
        },
        "build": build(result.build) if result.build else {"not_built": result.no_build},
        "verify": verification(result.verification),
        "verdict": result.verification.verdict,
        "next": result.verification.next,
    }


def _port(facts: TensorFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "dtype": facts.dtype,
        "shape": facts.shape,
        "tensorrt": facts.tensorrt,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Source):
        return {"file": value.file, "line": value.line}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value) if field.repr)
        return {name: _plain(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, Path):
        return str(value)
    return value
