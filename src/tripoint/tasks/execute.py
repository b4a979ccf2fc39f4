"""Task "execute": run a plan on the inputs in a folder, and write the outputs there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tripoint.runner import loading
from tripoint.trt import array_ipc, bindings, cuda
from tripoint.trt.protocol import Emit


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Execute every point with the runner that :class:`tripoint.Engine` has.

    Outputs are poisoned before each run. CUDA graphs are off, since no point comes often. One
    point is in memory at a time; the file of its inputs is removed when they are read.

    Args:
        request: ``tensorrt`` (module name), ``plan`` (absolute path), ``folder`` and
            ``points``: how many files ``in0.npz`` ... lie there; ``out0.npz`` ... are written.
        emit: Takes the log lines.
    """
    trt = bindings.load(request["tensorrt"])
    cudart = cuda.runtime()
    emit({"event": "loaded", "version": trt.__version__, "at": "loading the plan"})
    loaded = loading.load(trt, cudart, loading.read(Path(request["plan"])), emit, poison=True)
    folder, count = Path(request["folder"]), request["points"]
    for index in range(count):
        emit({"event": "point", "at": f"executing point {index + 1} of {count}"})
        # No variable holds them while those of the next point are made.
        array_ipc.save(
            folder / f"out{index}.npz",
            loaded.session.run(array_ipc.taken(folder / f"in{index}.npz")),
        )
    loaded.close()
    return {"version": trt.__version__}
