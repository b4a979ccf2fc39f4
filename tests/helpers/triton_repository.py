"""Model repositories for tests: plans that are none, with manifests made by hand."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx

Shape = list[int]


def tensor(name: str, shape: Shape | None, dtype: str | None = "float32", **more: Any):
    return {"name": name, "dtype": dtype, "shape": shape, **more}


def entry(name: str, low: Shape, high: Shape):
    return {"name": name, "min": low, "opt": low, "max": high}


def values(name: str, low: Shape, high: Shape):
    """The entry of a shape input in a profile."""
    return {**entry(name, low, high), "values": True}


X = tensor("x", [-1, 3, 8, 8])
Y = tensor("y", [-1, 3])
ONE_TO_EIGHT = [[entry("x", [1, 3, 8, 8], [8, 3, 8, 8])]]
MODEL = """<ir_version: 8, opset_import: ["": 13]>
net (float[N,3,8,8] x) => (float[N,3] y)
{ mean = GlobalAveragePool (x) y = Flatten (mean) }"""


def save_model(path: Path, text: str = MODEL) -> Path:
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def save_plan(
    path: Path,
    inputs: list[dict[str, Any]] | None = None,
    outputs: list[dict[str, Any]] | None = None,
    profiles: list[list[dict[str, Any]]] | None = None,
    *,
    model: Path | None = None,
    **more: Any,
) -> Path:
    """A file in place of a plan, with a manifest of a TensorRT that Triton has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not really a plan")
    content = {
        "schema_version": "1.0",
        "tool": {"name": "tripoint", "version": "0"},
        "model": {"path": model.name, "sha256": sha256(model.read_bytes()).hexdigest()}
        if model
        else {"path": None, "sha256": "0"},
        "engine": {"file": path.name, "sha256": sha256(path.read_bytes()).hexdigest()},
        "tensorrt": {"name": "tensorrt", "kind": "tensorrt", "version": "10.9.0.34"},
        "target": {"gpu": {"name": "NVIDIA H100 80GB HBM3"}},
        "environment": {},
        "profiles": ONE_TO_EIGHT if profiles is None else profiles,
        "inputs": [X] if inputs is None else inputs,
        "outputs": [Y] if outputs is None else outputs,
        **more,
    }
    path.with_name(f"{path.stem}.manifest.json").write_text(json.dumps(content))
    return path
