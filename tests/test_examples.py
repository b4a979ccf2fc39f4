"""Every example exports with both exporters, and ONNX Runtime agrees with PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.paths import EXAMPLES
from tripoint.graph.source_lines import source_of
from tripoint.parity.results import Verification
from tripoint.parity.verify import verify
from tripoint.sources.python import load_module
from tripoint.sources.reference import PythonReference
from tripoint.sources.torch_export import export
from tripoint.spec import Spec

pytestmark = pytest.mark.needs_torch

STATIC = {"eca": ["x:1x3x5x5"]}
DYNAMIC = {
    "eca": ["x:Nx3x5x5"],
    "resnet": ["x:Nx3x32x32"],
    "vit": ["image:Nx3x32x32"],
    "text_encoder": ["ids:Nx12", "mask:Nx12"],
    "three_outputs": ["x:Nx3x16x16"],
}


def export_and_verify(
    name: str, spec: Spec, exporter: str, folder: Path, sizes: list[dict[str, int]]
) -> Verification:
    model = load_module(PythonReference(EXAMPLES / f"{name}.py", "model"))
    path = folder / "model.onnx"
    done = export(model, path, spec=spec, exporter=exporter)
    assert path.stat().st_size < 1 << 20
    for node in done.model.ir.graph.all_nodes():
        assert Path(str(source_of(node)).rpartition(":")[0]).name == f"{name}.py"
    return verify(done.model, torch=model, bindings=sizes)


def statuses(result: Verification) -> set[str]:
    assert len(result.points) >= 3
    return {entry.status for point in result.points for entry in point.outputs}


@pytest.mark.parametrize(
    ("name", "exporter"),
    [
        # All go through this exporter with dynamic sizes, here or in `test_run.py`.
        *(
            pytest.param(name, "dynamo", marks=[] if name == "eca" else [pytest.mark.slow])
            for name in DYNAMIC
        ),
        *((name, "torchscript") for name in DYNAMIC),
    ],
)
def test_static(name: str, exporter: str, tmp_path: Path) -> None:
    spec = Spec.parse(STATIC.get(name, []))
    result = export_and_verify(name, spec, exporter, tmp_path, [{}])
    assert statuses(result) == {"equal"}
    assert result.verdict == "unproven"


@pytest.mark.parametrize(
    ("name", "exporter"),
    [
        # `test_run.py` exports and compares the others so as well.
        *(
            pytest.param(
                name, "dynamo", marks=[] if name in ("eca", "text_encoder") else [pytest.mark.slow]
            )
            for name in DYNAMIC
        ),
        *((name, "torchscript") for name in DYNAMIC),
    ],
)
def test_dynamic_batch(name: str, exporter: str, tmp_path: Path) -> None:
    spec = Spec.parse(DYNAMIC[name], ["N=1..2..8"])
    sizes = [{"N": 1}, {"N": 2}, {"N": 8}, {"N": 5}]
    result = export_and_verify(name, spec, exporter, tmp_path, sizes)
    assert statuses(result) == {"equal"}
    assert {check.check for check in result.metamorphic} == {
        *("no NaN or Inf", "second run repeats", "same row twice", "permuted batch"),
    }
    assert {check.status for check in result.metamorphic} == {"equal"}
