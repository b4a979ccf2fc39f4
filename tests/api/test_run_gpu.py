"""The whole job with all three legs, on a machine with a GPU."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import tripoint
from tripoint.spec import Spec
from tripoint.trt import gpu

pytestmark = [pytest.mark.needs_torch, pytest.mark.gpu]

CASES = {
    "eca": ("x:1x3x5x5", "x:1..2..8x3x5..9..32x5..9..32"),
    "resnet": ("x:1x3x32x32", "x:1..2..8x3x32x32"),
    "vit": ("image:1x3x32x32", "image:1..2..8x3x32x32"),
    "text_encoder": ("", ""),
}


@pytest.fixture(scope="session")
def record():
    """Figures of every run, written as JSON lines where TRIPOINT_GPU_RECORD says."""
    rows: list[dict[str, object]] = []
    yield rows
    path = os.environ.get("TRIPOINT_GPU_RECORD")
    if path:
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _spec(example: str, dynamic: bool) -> Spec:
    if example == "text_encoder":
        if not dynamic:
            return Spec.parse(["ids:1x12", "mask:1x12"])
        return Spec.parse(["ids:Nx12", "mask:Nx12"], ["N=1..2..8"])
    return Spec.parse([CASES[example][dynamic]])


@pytest.mark.parametrize("tf32", [False, True], ids=["float32", "tf32"])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("example", CASES)
def test_three_legs_agree_before_and_after_fix(
    example: str,
    exporter: str,
    dynamic: bool,
    tf32: bool,
    examples: Path,
    tmp_path: Path,
    record: list,
) -> None:
    reference = f"{examples / example}.py:model"
    result = tripoint.run(
        reference,
        tmp_path / "run",
        spec=_spec(example, dynamic),
        exporter=exporter,
        tf32=tf32,
    )
    after = result.verification
    assert result.build is not None, result.no_build
    assert {leg.name: leg.status for leg in after.legs}["TensorRT"] == "ran", after.reasons
    assert after.verdict == "equal", after.reasons

    ranges = Spec(dims=_symbols(result))
    plan = tmp_path / "before.plan"
    tripoint.build(result.model, plan, spec=ranges, tf32=tf32)
    before = tripoint.verify(result.model, torch=reference, engine=plan, spec=ranges)
    assert before.verdict == "equal", before.reasons

    for stage, found in (("before", before), ("after", after)):
        record.append(
            {
                "example": example,
                "exporter": exporter,
                "dynamic": dynamic,
                "tf32": tf32,
                "stage": stage,
                "verdict": found.verdict,
                "points": len(found.points),
                "gpu": gpu.devices()[0].name,
                "tensorrt": next(leg.version for leg in found.legs if leg.name == "TensorRT"),
                "max_abs": _worst(found, "max_abs"),
                "allowed": _allowed(found),
            }
        )


def _symbols(result) -> dict:
    from tripoint.spec import Range

    shapes = {
        value.name: [str(dim.value) if not isinstance(dim, int) else dim for dim in value.shape]
        for value in result.model.ir.graph.inputs
    }
    return {
        dim: Range(each.min[axis], each.opt[axis], each.max[axis])
        for profile in result.build.profiles
        for each in profile.inputs
        for axis, dim in enumerate(shapes[each.name])
        if isinstance(dim, str)
    }


def _tensorrt_entries(found):
    return [entry for point in found.points for entry in point.outputs if "TensorRT" in entry.pair]


def _worst(found, field: str) -> float:
    return max(getattr(entry, field) for entry in _tensorrt_entries(found))


def _allowed(found) -> float:
    return max(entry.tolerance.atol for entry in _tensorrt_entries(found))


def test_a_changed_weight_in_the_engine_is_found(examples: Path, tmp_path: Path) -> None:
    import numpy as np
    import onnx_ir as ir

    from tripoint.model import Model

    reference = f"{examples / 'eca'}.py:model"
    exported = tripoint.export(reference, tmp_path / "eca.onnx", spec=Spec.parse(["x:1x3x5x5"]))
    graph = exported.model.ir.clone()
    weight = next(v for v in graph.graph.initializers.values() if v.shape and len(v.shape) == 4)
    changed = np.array(weight.const_value.numpy())
    changed.flat[0] += 0.5
    weight.const_value = ir.tensor(changed, name=weight.name)
    plan = tmp_path / "changed.plan"
    tripoint.build(Model(graph), plan)
    found = tripoint.verify(exported.model, torch=reference, engine=plan)
    assert found.verdict == "different"
    assert any("TensorRT" in reason for reason in found.reasons)


def test_swapped_outputs_of_an_engine_are_named(examples: Path, tmp_path: Path) -> None:
    from tripoint.model import Model

    reference = f"{examples / 'three_outputs'}.py:model"
    exported = tripoint.export(reference, tmp_path / "three.onnx", spec=Spec.parse(["x:1x3x16x16"]))
    graph = exported.model.ir.clone()
    by_shape: dict[str, list] = {}
    for value in graph.graph.outputs:
        by_shape.setdefault(str(value.shape), []).append(value)
    first, second = next(values for values in by_shape.values() if len(values) == 2)
    names = (first.name, second.name)
    first.name = "in between"
    second.name, first.name = names
    plan = tmp_path / "swapped.plan"
    tripoint.build(Model(graph), plan)
    found = tripoint.verify(exported.model, engine=plan)
    assert found.verdict == "different"
    assert found.permutation is not None
    assert dict(found.permutation.outputs) == {names[0]: names[1], names[1]: names[0]}
