"""Engines of TensorRT of right and wrong twins, for ``bench/verdicts.py --engines``."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import torch

from tripoint import api
from tripoint.errors import TripointError
from tripoint.parity import engines
from tripoint.parity.legs import Leg
from tripoint.parity.verify import tensorrt_leg
from tripoint.spec import Spec
from verdict_faults import FAULTS
from verdict_legs import reference
from verdict_models import KINDS
from verdict_pairs import SMALLEST, Bench, Pair, graded
from verdict_twins import Twin, weights

NAMES = (
    *("plain", "residual", "mobile", "dilated", "waves", "unet", "dense", "pooled"),
    *("instance", "layers", "encoder", "deep_encoder", "decoder", "patches", "mixer"),
    *("perceptron", "pixels_and_scores", "channels_first", "twice", "words"),
)
"""Models of which engines are built."""
FAULTS_EACH = 5
GRADES = (6.0, 12.0)
TIMEOUT_SECONDS = 600.0
Build = Callable[[onnx.ModelProto, Path, Spec, bool], Leg]


def build(proto: onnx.ModelProto, folder: Path, spec: Spec, tf32: bool) -> Leg:
    """An engine of a graph.

    Raises:
        TripointError: If it cannot be built, or not be run.
    """
    source, plan = folder / "model.onnx", folder / "model.plan"
    onnx.save(proto, source)
    api.build(source, plan, spec=spec, tf32=tf32, force=True)
    engine = engines.of_plan(plan, None, TIMEOUT_SECONDS)
    if isinstance(engine, str):
        raise TripointError(f"no GPU to run it on: {engine}")
    return tensorrt_leg(engine)


def compare(name: str, tf32: bool, build: Build = build) -> list[Pair]:
    """Engines of one model and of copies with faults.

    The legitimate error is that of the engine of the model itself, or of ONNX Runtime.

    Args:
        name: The model.
        tf32: Whether products may be rounded to TF32.
        build: Makes a leg of a graph.

    Raises:
        TripointError: If the engine of the model cannot be built or run.
    """
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    bench = Bench(next(kind for kind in KINDS if kind.name == name), "float32")
    symbols = {dim for _, shape in bench.specs.values() for dim in shape if isinstance(dim, str)}
    spec = Spec.parse([], [f"{symbol}=1..2..3" for symbol in sorted(symbols)])
    inputs = [point.inputs for point in bench.points]
    how = "TensorRT, TF32" if tf32 else "TensorRT"
    with tempfile.TemporaryDirectory(prefix="verdicts-") as folder:
        leg = build(bench.proto, Path(folder), spec, tf32)
        outputs = list(leg.run_many(inputs))
        unit = bench.unit([bench.plain, outputs])
        rows = [bench.judged_leg("engine", "", how, leg, outputs)]
        for twin in faults(bench, unit):
            exact = reference(twin.proto)
            size = bench.size([exact(each) for each in inputs], unit)
            if size < SMALLEST:
                continue
            try:
                leg = build(twin.proto, Path(folder), spec, tf32)
                outputs = list(leg.run_many(inputs))
            except TripointError:
                # A fault with which no engine is built shows by itself.
                continue
            row = bench.judged_leg(twin.kind, twin.what, how, leg, outputs)
            row.right, row.size = False, size
            rows.append(row)
    for row in rows:
        row.legitimate = {key: each.tolist() for key, each in unit.items()}
    return rows


def faults(bench: Bench, unit: dict[str, np.ndarray]) -> Iterator[Twin]:
    """Wrong twins: some of those of the kinds that a file can hold, and small ones."""
    every = [
        twin
        for maker in FAULTS
        for twin in maker(bench.proto, bench.trace, bench.random)
        if twin.kind != "lower precision"
    ]
    order = bench.random.permutation(len(every))
    yield from (every[index] for index in itertools.islice(order, FAULTS_EACH))
    names = weights(bench.proto)
    for grade in GRADES:
        made = graded(bench, names[int(bench.random.integers(len(names)))], grade, unit)
        if made is not None:
            yield made
