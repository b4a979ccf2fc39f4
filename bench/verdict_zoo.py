"""Models of the test zoo without a fault, for ``bench/verdicts.py --zoo``.

ONNX Runtime with all its optimizations is compared with ONNX Runtime without any, at three sizes.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tripoint import api
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.parity.compare_legs import compare_legs
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.points import Point
from tripoint.shape_inference import truth
from tripoint.spec import Spec
from verdict_legs import Leg, Runtime

ARCHIVE = "zoo.tar.xz"
DIMS = ("N=1..2..4", "H=64..96..128", "W=64..96..128", "S=16..32..64")
_SIZES = 3


@dataclass
class Row:
    """One model.

    Args:
        name: Its name.
        alarm: Whether an output is called different, or a check of one leg fails.
        outputs: How many outputs were compared, over all sizes.
        excess: The largest difference as a multiple of what is allowed.
        reasons: What was said against it.
    """

    name: str
    alarm: bool
    outputs: int
    excess: float
    reasons: list[str]


def names(zoo: Path) -> list[str]:
    """The models of a zoo."""
    with tarfile.open(zoo / ARCHIVE) as archive:
        return sorted(each for each in archive.getnames() if each.endswith(".onnx"))


def compare(zoo: Path, name: str) -> Row | str:
    """One model with random weights, or why it was not compared.

    Args:
        zoo: Folder of the archive and of ``materialize.py``, which makes the weights.
        name: Of the model in the archive.
    """
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(zoo / ARCHIVE) as archive:
            archive.extract(name, folder, filter="data")
        path = Path(folder, name)
        command = [sys.executable, str(zoo / "materialize.py"), str(path)]
        try:
            subprocess.run(command, check=True, capture_output=True)
            return _compared(path)
        except Exception as error:  # noqa: BLE001, the others are still to be compared
            return f"failed: {error}"


def _compared(path: Path) -> Row:
    model = api.load(path)
    known = truth.infer(model.ir).symbols
    spec = Spec.parse([], [each for each in DIMS if each.partition("=")[0] in known])
    specs = inputs_of(model, named=False)
    points = [
        Point(sizes, generate(specs, sizes, seed, model=model), seed)
        for seed, sizes in enumerate(api.sweep(model, spec)[:_SIZES])
    ]
    found = compare_legs(model, specs, [OnnxRuntimeLeg(model), Leg(Runtime(path))], points)
    entries = [entry for point in found.points for entry in point.outputs]
    return Row(
        path.stem,
        found.verdict == "different",
        len(entries),
        max((entry.excess or 0.0 for entry in entries), default=0.0),
        list(found.reasons),
    )
