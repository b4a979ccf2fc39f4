"""Faults in real engines, and whether ``locate`` names the node, on a GPU.

    python bench/gpu_locate.py MODEL ... [--faults KIND,...] [--dim N=1..2..4] [--jobs N]
                               [--record FILE]

For each ONNX model and each kind of fault that it has a node for, an engine is built from a copy
with that fault at one node and compared with the model as it is in ONNX Runtime:

* weight: one element of a weight of Conv, Gemm or MatMul is off;
* epsilon: that of a normalization is 1000 times as large, at least 0.1;
* axis: Softmax goes along another axis;
* gelu: Gelu by tanh in place of the exact one, or the other way round;
* slice: a Slice begins one element off.

The fault is put at the node nearest to the middle of the graph at which ONNX Runtime itself sees it
in the outputs; where there is none, the row says so and does not count. Engines are built without
TF32. A range for a symbol that a model lacks is passed over.

Exit code: 0 if every fault was found at its node and there were at least five; 1 if not; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

import workers
from tripoint import api
from tripoint.engine import manifest
from tripoint.engine.debugging import Settings
from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.numeric.inputs import bindings_of
from tripoint.parity.compare import compare_outputs
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.locate import Pair, locate
from tripoint.parity.locate.onnxruntime import OnnxRuntime
from tripoint.parity.locate.repro import Options
from tripoint.parity.locate.request import points
from tripoint.parity.locate.results import Location
from tripoint.parity.locate.tensorrt import TensorRT
from tripoint.profiles.constraints.legal import LegalSizes
from tripoint.shape_inference import truth
from tripoint.spec import Spec
from tripoint.tolerance.derivation import Budget, Products
from tripoint.trt import bindings, gpu
from tripoint.trt.tf32 import for_build

LEAST = 5
MOST_TRIES = 6
LIMIT = 64
TIMEOUT_SECONDS = 600.0


def weight(node: ir.Node) -> bool:
    """Put one element of a weight off; whether the node has one."""
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return False
    for place, value in enumerate(node.inputs[:2]):
        if value is None or value.const_value is None:
            continue
        array = np.array(value.const_value.numpy())
        array.flat[array.size // 2] += 10 * (float(np.abs(array).max()) or 1.0)
        replace_constant(node, place, array)
        return True
    return False


def epsilon(node: ir.Node) -> bool:
    """Enlarge the epsilon of a normalization; whether it is one."""
    if not node.op_type.endswith("Normalization") or "epsilon" not in node.attributes:
        return False
    before = node.attributes.get_float("epsilon", 1e-5)
    node.attributes["epsilon"] = ir.AttrFloat32("epsilon", max(0.1, 1000 * before))
    return True


def axis(node: ir.Node) -> bool:
    """Let a Softmax go along another axis; whether it is one."""
    rank = len(node.inputs[0].shape or ()) if node.inputs and node.inputs[0] is not None else 0
    if node.op_type != "Softmax" or rank < 2:
        return False
    before = node.attributes.get_int("axis", -1) % rank
    node.attributes["axis"] = ir.AttrInt64("axis", (before - 1) % rank)
    return True


def gelu(node: ir.Node) -> bool:
    """Take the other Gelu; whether it is one."""
    if node.op_type != "Gelu":
        return False
    before = node.attributes.get_string("approximate", "none")
    other = "none" if before == "tanh" else "tanh"
    node.attributes["approximate"] = ir.AttrString("approximate", other)
    return True


def slice_(node: ir.Node) -> bool:
    """Let a Slice with constant bounds begin and end one element off; whether it can."""
    if node.op_type != "Slice" or len(node.inputs) < 3:
        return False
    bounds = [constant(value) for value in node.inputs[1:3]]
    if any(each is None or each.size != 1 for each in bounds):
        return False
    begin, end = (int(each.reshape(-1)[0]) for each in bounds if each is not None)
    shift = -1 if begin > 0 else 1
    if end <= begin or end >= 1 << 31 or begin + shift < 0:
        return False
    for place, value in ((1, begin + shift), (2, end + shift)):
        replace_constant(node, place, np.array([value], np.int64))
    return True


FAULTS: dict[str, Callable[[ir.Node], bool]] = {
    "weight": weight,
    "epsilon": epsilon,
    "axis": axis,
    "gelu": gelu,
    "slice": slice_,
}


def constant(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """The value of an initializer or of a Constant node."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor.numpy() if tensor is not None else None


def replace_constant(node: ir.Node, place: int, array: np.ndarray[Any, Any]) -> None:
    """Give one input of a node a constant of its own."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    name = f"fault.{node_name(node)}.{place}"
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(array.shape),
        const_value=tensor,
    )
    graph.register_initializer(value)
    node.replace_input_with(place, value)


def faulty(model: Model, kind: str) -> Iterator[tuple[str, Model]]:
    """Copies with one fault, those near the middle of the graph first, each with the node."""
    annotated = Graph(model)
    count = len(annotated.nodes)
    middle = sorted(range(count), key=lambda index: abs(index - count // 2))
    tries = 0
    for index in middle:
        if tries == MOST_TRIES:
            return
        copy = annotated.ir.clone()
        node = copy.graph.node(index)
        if FAULTS[kind](node):
            tries += 1
            yield node_name(node), Model(copy)


def visible(model: Model, bad: Model, spec: Spec) -> bool:
    """Whether the outputs of two models differ in ONNX Runtime by more than an engine may."""
    graph = Graph(model)
    budget = Budget(graph.ir)
    legs = (OnnxRuntimeLeg(model), OnnxRuntimeLeg(bad))
    for point in points(graph, api.sweep(model, spec)[:2], None, 0):
        expected, found = (leg.run(point.inputs) for leg in legs)
        sizes = bindings_of(graph.specs, point.inputs)
        allowed = budget.allowed(expected, sizes, products=Products.TENSOR_CORES)
        if any(not entry.equal for entry in compare_outputs(expected, found, allowed)):
            return True
    return False


def measure(
    path: Path, kind: str, dims: Sequence[str], settings: Settings, device: str
) -> dict[str, Any]:
    """One fault in one model."""
    model = api.load(path)
    known = truth.infer(model.ir).symbols
    spec = Spec.parse([], [each for each in dims if each.partition("=")[0] in known])
    row: dict[str, Any] = {"model": path.stem, "fault": kind, "nodes": model.nodes}
    chosen = next((each for each in faulty(model, kind) if visible(model, each[1], spec)), None)
    if chosen is None:
        return {**row, "status": "no such node, or not visible"}
    name, bad = chosen
    started = time.monotonic()
    found = search(model, bad, spec, settings, device)
    row |= {"node": name, "seconds": time.monotonic() - started, "resolution": found.resolution}
    culprit = found.culprit
    if culprit is None:
        reasons = [*found.reasons, *found.notes]
        return {**row, "status": "not found", "named": "", "reason": "; ".join(reasons)}
    return {
        **row,
        "status": "found" if culprit.node == name else "wrong",
        "named": culprit.node,
        "together": len(culprit.nodes),
        "alone": culprit.error_alone,
        "allowed": culprit.tolerance.atol,
        "layer": culprit.fused_layer,
        "vanishes": culprit.vanishes_unfused,
        "notes": list(found.notes),
    }


def search(model: Model, bad: Model, spec: Spec, settings: Settings, device: str) -> Location:
    """The model in ONNX Runtime against engines of the copy with the fault."""
    graph, wrong, legal = Graph(model), Graph(bad), LegalSizes.of(model, spec)
    pair = Pair(
        OnnxRuntime(graph, name="ONNX Runtime", limit=LIMIT),
        TensorRT(
            wrong,
            settings,
            version=settings.tensorrt or "",
            device=device,
            profile=manifest.as_json(legal.profile) if legal.profile else (),
        ),
        graph,
        Options("engine"),
    )
    return locate([pair], graph.specs, points(graph, legal.points()[:2], None, 0))


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The rows as a Markdown table."""
    yield (
        "| model | nodes | fault | at node | named | together with | error | allowed | layer | "
        "gone when kept apart | seconds | result |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        cells = (
            row["model"],
            row["nodes"],
            row["fault"],
            row.get("node", ""),
            row.get("named", ""),
            row.get("together", 1) - 1 if "named" in row else "",
            f"{row['alone']:.2g}" if "alone" in row else "",
            f"{row['allowed']:.2g}" if "allowed" in row else "",
            row.get("layer") or "",
            {True: "yes", False: "no", None: ""}[row.get("vanishes")],
            f"{row['seconds']:.0f}" if "seconds" in row else "",
            row["status"] + (f": {row['reason']}" if row.get("reason") else ""),
        )
        yield "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def main() -> int:
    """Measure all models and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--dim", action="append", default=[], metavar="N=1..2..4")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time")
    parser.add_argument(
        "--faults",
        type=lambda text: [kind for kind in text.split(",") if kind in FAULTS],
        default=list(FAULTS),
        metavar="KIND,...",
        help=f"of {', '.join(FAULTS)}",
    )
    parser.add_argument("--record", type=Path, help="write the rows as JSON lines")
    arguments = parser.parse_args()
    devices = gpu.probe()
    if not devices.devices:
        print(f"no GPU: {devices.reason}", file=sys.stderr)
        return 2
    binding = bindings.find(None)
    environment = for_build(binding.kind, tf32=False)
    settings = Settings(binding.name, False, environment, TIMEOUT_SECONDS)
    device = devices.devices[0].name
    rows: list[dict[str, Any]] = []
    with workers.pool(arguments.jobs) as pool:
        todo = [
            pool.submit(measure, path, kind, arguments.dim, settings, device)
            for path in arguments.models
            for kind in arguments.faults
        ]
        for done in as_completed(todo):
            row = done.result()
            print(f"{row['model']} {row['fault']}: {row['status']}", file=sys.stderr, flush=True)
            rows.append(row)
            if arguments.record:
                text = "".join(json.dumps(each, default=str) + "\n" for each in rows)
                arguments.record.write_text(text, encoding="utf-8")
    rows.sort(key=lambda row: (row["model"], list(FAULTS).index(row["fault"])))
    print(f"{binding}, {device}\n")
    print("\n".join(table(rows)))
    counted = [row for row in rows if "node" in row]
    found = [row for row in counted if row["status"] == "found"]
    print(f"\n{len(found)} of {len(counted)} faults were found at their node")
    return 0 if len(found) == len(counted) >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
