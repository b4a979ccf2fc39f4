"""How much engines round, on a GPU, beside what ``verify`` allows for it.

    python bench/gpu_rounding.py [MODEL ...] [--dim N=1..2..4] [--jobs N] [--record FILE]

First single operators, all in one engine, against float64: the root mean square of the error and
its largest element, relative to the root mean square of the result, in units of the epsilon of
float32 (TF32 off) and of TF32 (on). The numbers in :class:`tripoint.tolerance.derivation.Products`
come from there. Then the models, against ONNX Runtime: the largest difference at two points beside
the derived tolerance, and beside how far errors of the size charged were measured to move the
outputs (:mod:`tripoint.tolerance.sensitivity`). A range for a symbol that a model lacks is passed
over.

Exit code: 0 if every model is within what is allowed; 1 if not; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

import workers
from tripoint import api
from tripoint.model import Model
from tripoint.numeric.inputs import Arrays, generate, inputs_of
from tripoint.numeric.ort import Session
from tripoint.parity.legs.tensorrt import TensorRTLeg
from tripoint.shape_inference import truth
from tripoint.spec import Spec
from tripoint.tolerance.derivation import Budget, Products, lift
from tripoint.tolerance.measure import measure
from tripoint.tolerance.sensitivity import Sensitivity
from tripoint.trt import bindings
from tripoint.trt.tf32 import for_build

FLOAT32_EPS, TF32_EPS = 2.0**-23, 2.0**-10
CONVS = (
    *((64, 3, 32, 1), (256, 3, 16, 1), (512, 3, 8, 1), (512, 1, 8, 1), (2048, 1, 8, 1)),
    *((3, 7, 64, 1), (3, 16, 64, 1), (96, 7, 16, 96)),
)
"""Channels, kernel, height and width, groups."""
MATMULS = (64, 768, 3072)
POINTS = 2


def operators() -> tuple[Model, Arrays, dict[str, tuple[int, np.ndarray[Any, Any]]]]:
    """One graph of single operators, its inputs, and terms and float64 result by output name."""
    rng = np.random.default_rng(0)
    feed: dict[str, np.ndarray[Any, Any]] = {}
    exact: dict[str, tuple[int, np.ndarray[Any, Any]]] = {}
    nodes, inputs, weights = [], [], []

    def add(op_type: str, shape: Sequence[int], weight: Sequence[int], **attributes: Any) -> None:
        terms = int(np.prod(weight[1:])) if op_type == "Conv" else weight[0]
        name = f"{op_type} {'x'.join(map(str, weight))}"
        feed[name] = rng.standard_normal(shape).astype(np.float32)
        array = (rng.standard_normal(weight) / np.sqrt(terms)).astype(np.float32)
        x, w = (
            ir.Value(name=each, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(dims))
            for each, dims in ((name, shape), (f"{name}.w", weight))
        )
        w.const_value = ir.tensor(array, name=w.name)
        node = ir.node(op_type, [x, w], attributes)
        output = node.outputs[0]
        output.name = f"{name}.y"
        value = _exactly(op_type, feed[name], array, attributes)
        output.type, output.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(value.shape)
        exact[output.name] = (terms, value)
        nodes.append(node)
        inputs.append(x)
        weights.append(w)

    for channels, kernel, side, group in CONVS:
        weight = (min(channels, 256) if group == 1 else channels, channels // group, kernel, kernel)
        add("Conv", (2, channels, side, side), weight, pads=[kernel // 2] * 4, group=group)
    for terms in MATMULS:
        add("MatMul", (200, terms), (terms, 256))
    graph = ir.Graph(
        inputs,
        [node.outputs[0] for node in nodes],
        nodes=nodes,
        initializers=weights,
        opset_imports={"": 18},
        name="operators",
    )
    return Model(ir.Model(graph, ir_version=9)), feed, exact


def _exactly(
    op_type: str, x: np.ndarray[Any, Any], w: np.ndarray[Any, Any], attributes: dict[str, Any]
) -> np.ndarray[Any, Any]:
    import torch

    first, second = (torch.from_numpy(each.astype(np.float64)) for each in (x, w))
    if op_type == "MatMul":
        return (first @ second).numpy()
    padding, groups = attributes["pads"][0], attributes["group"]
    return torch.nn.functional.conv2d(first, second, padding=padding, groups=groups).numpy()


def of_operators() -> list[dict[str, Any]]:
    """How much each operator rounds, on the CPU and in engines without and with TF32."""
    model, feed, exact = operators()
    session = Session(model)
    found: dict[str, Arrays] = {"CPU": dict(zip(session.outputs, session.run(feed), strict=True))}
    for name, tf32 in (("TF32 off", False), ("TF32 on", True)):
        (found[name],) = executed(model, Spec(), [feed], tf32=tf32)
    rows = []
    for name, (terms, value) in exact.items():
        row: dict[str, Any] = {"operator": name.removesuffix(".y"), "terms": terms}
        scale = float(np.sqrt(np.mean(value**2)))
        for leg, arrays in found.items():
            error = np.abs(arrays[name] - value) / scale
            eps = TF32_EPS if leg == "TF32 on" else FLOAT32_EPS
            row[leg] = (float(np.sqrt(np.mean(error**2))) / eps, float(error.max()) / eps)
        rows.append(row)
    return rows


def of_model(path: Path, dims: Sequence[str]) -> list[dict[str, Any]]:
    """The largest difference of engines without and with TF32, and what is allowed."""
    model = api.load(path)
    known = truth.infer(model.ir).symbols
    spec = Spec.parse([], [each for each in dims if each.partition("=")[0] in known])
    points = list(api.sweep(model, spec))[:POINTS]
    feeds = [
        generate(inputs_of(model, named=False), sizes, seed, model=model)
        for seed, sizes in enumerate(points)
    ]
    session = Session(model)
    wanted = [dict(zip(session.outputs, session.run(feed), strict=True)) for feed in feeds]
    graph = model.ir.clone()
    truth.annotate(graph)
    budget, sensitivity = Budget(graph), Sensitivity(graph)
    rows = []
    for products in (Products.TENSOR_CORES, Products.TF32):
        got = executed(model, spec, feeds, tf32=products == Products.TF32)
        worst: dict[str, Any] = {"share": -1.0}
        for sizes, feed, reference, other in zip(points, feeds, wanted, got, strict=True):
            moved = sensitivity.at(feed, sizes, products)
            for name, limit in budget.allowed(reference, sizes, products=products).items():
                wide = lift(limit, moved.get(name))
                numbers = measure(reference[name], other[name], wide.atol, wide.rtol)
                if numbers.excess > worst["share"]:
                    worst = {
                        "share": numbers.excess,
                        "max_abs": numbers.max_abs,
                        "derived": limit.atol,
                        "moved": moved.get(name),
                    }
        rows.append({"model": path.stem, "TF32": products == Products.TF32, **worst})
    return rows


def executed(model: Model, spec: Spec, feeds: Sequence[Arrays], *, tf32: bool) -> list[Arrays]:
    """The outputs of an engine."""
    with tempfile.TemporaryDirectory(prefix="gpu-rounding-") as folder:
        plan = Path(folder) / "model.plan"
        api.build(model, plan, spec=spec, tf32=tf32)
        environment = for_build(bindings.find(None).kind, tf32=tf32)
        return list(TensorRTLeg(plan, tf32=tf32, environment=environment).run_many(feeds))


def tables(single: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Both as Markdown."""
    yield "| operator, weight | terms | CPU: rms, max | TF32 off: rms, max | TF32 on: rms, max |"
    yield "|---|---|---|---|---|"
    for row in single:
        cells = (f"{row[leg][0]:.2g}, {row[leg][1]:.2g}" for leg in ("CPU", "TF32 off", "TF32 on"))
        yield f"| {row['operator']} | {row['terms']} | {' | '.join(cells)} |"
    yield ""
    yield "| model | TF32 | max abs | derived (absolute) | moved | largest share of the allowed |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        numbers = (f"{row[key]:.2g}" for key in ("max_abs", "derived", "moved", "share"))
        yield f"| {row['model']} | {'on' if row['TF32'] else 'off'} | {' | '.join(numbers)} |"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="gpu_rounding.py", description="rounding of engines")
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL")
    parser.add_argument("--dim", action="append", default=[], metavar="N=1..2..4")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time")
    parser.add_argument("--record", type=Path, help="write the rows as JSON lines")
    options = parser.parse_args()
    with workers.pool(options.jobs) as pool:
        first = pool.submit(of_operators)
        found = pool.map(of_model, options.models, [options.dim] * len(options.models))
        rows = [row for each in found for row in each]
        single = first.result()
    print("\n".join(tables(single, rows)))
    if options.record:
        text = "".join(json.dumps(row) + "\n" for row in (*single, *rows))
        options.record.write_text(text, encoding="utf-8")
    return int(any(row["share"] > 1 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
