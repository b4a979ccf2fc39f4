"""The main job on every example, for a real parser and for a modelled one."""

from __future__ import annotations

from pathlib import Path

import pytest

import tripoint
import tripoint.api.running
from tests.helpers.marks import needs_tensorrt
from tripoint.api.running import ARTEFACTS
from tripoint.errors import OutputError
from tripoint.spec import Spec
from tripoint.trt import gpu

pytestmark = [pytest.mark.needs_torch, needs_tensorrt]

BATCH = ["N=1..2..4"]
INPUTS = {
    "eca": ["x:{}x3x5x5"],
    "resnet": ["x:{}x3x32x32"],
    "vit": ["image:{}x3x32x32"],
    "text_encoder": ["ids:{}x12", "mask:{}x12"],
    "three_outputs": ["x:{}x3x16x16"],
}


CASES = [
    # Static sizes of one example; ``test_examples.py`` exports those of all.
    *((example, "N") for example in INPUTS),
    *(
        pytest.param(example, "1", marks=[] if example == "eca" else [pytest.mark.slow])
        for example in INPUTS
    ),
]


@pytest.mark.parametrize("target", ["installed", "7.1"])
@pytest.mark.parametrize(("example", "batch"), CASES)
def test_run_completes(
    example: str, batch: str, target: str, examples: Path, tmp_path: Path
) -> None:
    inputs = [text.format(batch) for text in INPUTS[example]]
    result = tripoint.run(
        f"{examples / example}.py:model",
        tmp_path / "out",
        spec=Spec.parse(inputs, BATCH if batch == "N" else ()),
        # One exporter for each target, so that both see every example.
        exporter="dynamo" if target == "installed" else "torchscript",
        target=target,
    )
    written = {path.name for path in result.folder.iterdir()}
    assert set(ARTEFACTS) - {"report.json"} <= written  # the command writes the report
    assert result.fix.proven
    assert result.fix.after.lost_dims <= result.fix.before.lost_dims
    assert len(result.fix.remaining) == result.fix.facts_after.table.summary.lost_tensors
    assert all(entry.reason for entry in result.fix.remaining)
    if target == "installed":
        assert result.fix.after.lost_dims == 0
    ran = {leg.name for leg in result.verification.legs if leg.status == "ran"}
    assert {"PyTorch", "ONNX Runtime", "ONNX Runtime (fixed)"} <= ran
    expected = "unproven" if gpu.absence() else "equal"
    assert result.verification.verdict == expected, result.verification.reasons
    assert len(result.verification.points) >= 3


def test_a_case_that_fails_is_kept_beside_the_report(examples: Path, tmp_path: Path) -> None:
    def run(atol: float | None, *, force: bool) -> tripoint.api.running.RunResult:
        return tripoint.run(
            f"{examples / 'resnet'}.py:model",
            tmp_path / "out",
            spec=Spec.parse(["x:2x3x32x32"]),
            exporter="torchscript",
            atol=atol,
            rtol=atol,
            force=force,
        )

    folder = tmp_path / "out" / "failing"
    strict = run(0.0, force=False).verification
    assert strict.verdict == "different"
    assert strict.failing is not None
    assert strict.failing.folder == str(folder)
    assert "--atol 0.0 --rtol 0.0" in (strict.failing.command or "")
    assert {"case.json", "inputs.npz", "PyTorch.npz"} <= {path.name for path in folder.iterdir()}
    (tmp_path / "out" / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    for path in (tmp_path / "out").glob("model.*"):
        path.unlink()
    with pytest.raises(OutputError, match=r"case\.json exists"):
        run(None, force=False)
    assert run(None, force=True).verification.failing is None
    assert not list(folder.iterdir())
