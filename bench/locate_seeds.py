"""Whether ``locate`` names the right node, and none where there is no fault, over many seeds.

    python bench/locate_seeds.py [--seeds 200] [--kit-seeds 5] [--show]

Models are those of ``tests/helpers/fault_models.py``; each seed draws other weights and other
inputs. Every comparison goes over the sizes that ``verify`` tries.

* kit: each fault of ``tests/helpers/faults.py`` that lies in a file, between two ONNX files, with
  ``--kit-seeds`` seeds. An output that is renamed or left out must be seen and has no culprit;
  where outputs trade names, the difference must be seen, and any culprit goes; a node that draws
  random numbers must be named as such, and nothing behind it accused;
* random: PyTorch against its export, in which the output of one node, drawn from all nodes, is a
  hundredth too large (an integer one too high, a boolean turned round);
* same: a file against itself;
* agreeing: PyTorch against its export, once by the outputs, and once with a replay of every node
  as if they differed: none may be beyond its own tolerance.

A fault that shows in no output is counted as unseen; there is nothing to locate then. A row of
``random`` counts as right if the drawn node is among those that the culprit consists of.

Exit code: 0 if every fault that was seen was found at its node, and nothing was found where there
is none; 1 if not; 2 usage.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.helpers import fault_models
from tests.helpers.faults import FAULTS, Fault

from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.numeric.inputs import bindings_of
from tripoint.parity.locate.compare_tensors import scan
from tripoint.parity.locate.graph import Graph
from tripoint.parity.locate.onnxruntime import OnnxRuntime
from tripoint.parity.locate.request import Request, points, run
from tripoint.parity.locate.results import Location
from tripoint.parity.locate.search import partition, replay
from tripoint.parity.locate.tolerances import Allowed
from tripoint.parity.locate.torch import PyTorch
from tripoint.parity.metamorphic import SECOND_RUN
from tripoint.profiles import points as sizes_to_try
from tripoint.sources.python import TorchModel
from tripoint.sources.torch_export import export
from tripoint.spec import Range, Spec
from tripoint.tolerance.derivation import Products

LIMIT = 64
RANGES = {
    "detector": {"N": Range(1, 8, 32)},
    "encoder": {"N": Range(1, 2, 8), "L": Range(1, 6, 12)},
    "branches": {"N": Range(1, 2, 4)},
}
EXAMPLES: dict[str, tuple[tuple[torch.Tensor, ...], list[str]]] = {
    "detector": ((torch.ones(2, 3, 8, 8),), ["x:Nx3x8x8"]),
    # Two tensors: of one that is given twice, an export would take one input for the other.
    "encoder": (
        (torch.zeros(2, 6, dtype=torch.int64), torch.ones(2, 6, dtype=torch.int64)),
        ["ids:NxL@int64", "mask:NxL@int64"],
    ),
    "branches": (
        (torch.ones(2, 2, 6, 6), torch.ones(2, 5, dtype=torch.int64)),
        ["x:Nx2x6x6", "steps:Nx5@int64"],
    ),
}
MODELS: dict[str, Callable[[], Model]] = {
    "detector": fault_models.detector,
    "encoder": fault_models.encoder,
    "branches": fault_models.branches,
}


@dataclass
class Row:
    """What came out for one kind of comparison.

    Args:
        name: The kind.
        right: Comparisons with the right result.
        unseen: Where faults show in no output.
        wrong: One line for each that is wrong.
        sizes: How often a culprit consisted of how many nodes.
    """

    name: str
    right: int = 0
    unseen: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    sizes: Counter[int] = field(default_factory=Counter)

    def take(self, where: str, found: Location, culprit: Callable[[Location], bool]) -> None:
        """Count a search for a fault."""
        if found.verdict == "equal":
            self.unseen.append(where)
        elif found.verdict == "different" and culprit(found):
            self.right += 1
            self.sizes[len(found.culprit.nodes) if found.culprit is not None else 0] += 1
        else:
            named = found.culprit.node if found.culprit is not None else "none"
            self.wrong.append(f"{where}: {found.verdict}, culprit {named}; {found.reasons[-1:]}")

    def expect(self, where: str, *, holds: bool, what: str) -> None:
        """Count a comparison without a fault."""
        if holds:
            self.right += 1
        else:
            self.wrong.append(f"{where}: {what}")


def drawn(model: Model, seed: int, weights: Sequence[str] | None = None) -> Model:
    """A copy of a model with other weights, as large as the old ones are.

    Args:
        model: The model; it is not changed.
        seed: What to draw from.
        weights: Names of the initializers, by default those of ``tests/helpers/fault_models.py``.
    """
    copy = model.ir.clone()
    random = np.random.default_rng(seed)
    for name, value in copy.graph.initializers.items():
        if name not in weights if weights is not None else not name.startswith("w_"):
            continue
        assert value.const_value is not None
        old = value.const_value.numpy()
        new = (float(old.std()) or 1.0) * random.standard_normal(old.shape)
        value.const_value = ir.tensor(new.astype(old.dtype), name=name)
    return Model(copy)


def sizes_of(name: str) -> list[dict[str, int]]:
    """The sizes to compare at."""
    return sizes_to_try.sweep(RANGES[name])


def located(name: str, seed: int, request: Request) -> Location:
    """Search over all sizes of a model."""
    return run(request, bindings=sizes_of(name), seed=1000 * seed)


def kit(seeds: int) -> Row:
    """Every fault of the kit between two files."""
    row = Row("kit")
    for fault in FAULTS:
        if fault.leg is not None or fault.declared:
            continue
        for seed in range(seeds):
            good = drawn(fault.model(), seed)
            name = str(good.ir.graph.name)
            found = located(name, seed, Request(good, against=fault.broken(good)))
            row.take(f"{fault.name}, seed {seed}", found, _names(fault))
    return row


def _names(fault: Fault) -> Callable[[Location], bool]:
    def right(found: Location) -> bool:
        if fault.culprit is None:
            # Where tensors changed names, the node behind a name is another one indeed.
            return fault.permutation is not None or found.culprit is None
        if SECOND_RUN in fault.checks:
            named = any("draws new numbers" in reason for reason in found.reasons)
            return named and found.culprit is None
        return found.culprit is not None and found.culprit.node == fault.culprit

    return right


@dataclass(frozen=True)
class Exported:
    """A module and its export.

    Args:
        name: Name of the model.
        module: The module.
        model: The export.
        weights: Buffer of the module by name of the initializer that it became.
    """

    name: str
    module: TorchModel
    model: Model
    weights: Mapping[str, torch.Tensor]

    def seeded(self, seed: int) -> Model:
        """The export with other weights, which the module has as well."""
        model = drawn(self.model, seed, list(self.weights))
        for name, buffer in self.weights.items():
            value = model.ir.graph.initializers[name].const_value
            assert value is not None
            buffer.copy_(torch.from_numpy(np.array(value.numpy())))
        return model


def exported(name: str, folder: Path) -> Exported:
    """Export a module of the kit with dynamic sizes."""
    inputs, shapes = EXAMPLES[name]
    dims = [f"{symbol}={size}" for symbol, size in RANGES[name].items()]
    # PyTorch takes a dim that may be 1 for static or for another one.
    dims = [text.replace("=1..", "=2..") if text.startswith("L") else text for text in dims]
    module = TorchModel.of(fault_models.torch_of(MODELS[name]()).module, inputs)
    made = export(module, folder / f"{name}.onnx", spec=Spec.parse(shapes, dims), exporter="dynamo")
    weights = {
        _initializer(made.model, buffer_name, buffer): buffer
        for buffer_name, buffer in module.module.named_buffers()
        if buffer_name.startswith("w_")
    }
    return Exported(name, module, made.model, weights)


def _initializer(model: Model, name: str, buffer: torch.Tensor) -> str:
    """What a buffer is called in the export: by its name, or by its values where that changed."""
    initializers = model.ir.graph.initializers
    if name in initializers:
        return name
    return next(
        other
        for other, value in initializers.items()
        if value.const_value is not None
        and np.array_equal(value.const_value.numpy(), buffer.numpy())
    )


def broken(model: Model, random: np.random.Generator) -> tuple[Model, str]:
    """A copy with an error at one node, and the name of the node that makes it."""
    copy = model.ir.clone()
    graph = copy.graph
    known = Graph(model)
    nodes = [node for node in graph if known.depends(known.nodes[list(graph).index(node)])]
    node = nodes[int(random.integers(len(nodes)))]
    value = node.outputs[0]
    name, dtype = value.name or "", value.dtype or ir.DataType.FLOAT
    made = ir.Value(name=name, type=value.type, shape=value.shape)
    value.name = f"{name}.right"
    if dtype == ir.DataType.BOOL:
        wrong = ir.Node("", "Not", [value], outputs=[made], name=f"{node_name(node)}.wrong")
    else:
        step = np.array(1.01 if dtype.is_floating_point() else 1, dtype.numpy())
        constant = ir.Value(name=f"{name}.step", const_value=ir.tensor(step, name=f"{name}.step"))
        constant.type, constant.shape = ir.TensorType(dtype), ir.Shape([])
        graph.register_initializer(constant)
        kind = "Mul" if dtype.is_floating_point() else "Add"
        wrong = ir.Node("", kind, [value, constant], outputs=[made], name=f"{node.name}.wrong")
    wrong.metadata_props.update(node.metadata_props)
    made.metadata_props.update(value.metadata_props)
    for user, place in list(value.uses()):
        if user is not wrong:
            user.replace_input_with(place, made)
    for place, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[place] = made
    graph.insert_after(node, wrong)
    return Model(copy), wrong.name or ""


def blames(node: str) -> Callable[[Location], bool]:
    """Return whether a search finds a node to be the culprit, as a function of its result."""
    return lambda found: found.culprit is not None and node in found.culprit.nodes


def random_faults(all_exported: Sequence[Exported], seeds: int) -> Row:
    """An error at a drawn node of an export, compared with PyTorch."""
    row = Row("random")
    for seed in range(seeds):
        subject = all_exported[seed % len(all_exported)]
        good = subject.seeded(seed)
        bad, node = broken(good, np.random.default_rng([seed, 1]))
        found = located(
            subject.name, seed, Request(bad, torch=subject.module, ranges=_ends(subject))
        )
        row.take(
            f"{subject.name}, seed {seed}, {node}",
            found,
            blames(node),
        )
    return row


def _ends(subject: Exported) -> dict[str, tuple[int, int]]:
    return {symbol: (size.min, size.max) for symbol, size in RANGES[subject.name].items()}


def same(seeds: int) -> Row:
    """Files against themselves."""
    row = Row("same")
    for seed in range(seeds):
        name = list(MODELS)[seed % len(MODELS)]
        model = drawn(MODELS[name](), seed)
        found = located(name, seed, Request(model, against=Model(model.ir.clone())))
        row.expect(f"{name}, seed {seed}", holds=found.verdict == "equal", what=str(found.reasons))
    return row


def agreeing(all_exported: Sequence[Exported], seeds: int) -> tuple[Row, Row]:
    """PyTorch against its export, by the outputs and node by node."""
    outputs, nodes = Row("agreeing"), Row("agreeing, each node")
    for seed in range(seeds):
        subject = all_exported[seed % len(all_exported)]
        model = subject.seeded(seed)
        request = Request(model, torch=subject.module, ranges=_ends(subject))
        found = located(subject.name, seed, request)
        where = f"{subject.name}, seed {seed}"
        outputs.expect(where, holds=found.verdict == "equal", what=str(found.reasons))
        makers = _makers(subject, model, seed)
        nodes.expect(where, holds=not makers, what=f"beyond their tolerance: {', '.join(makers)}")
    return outputs, nodes


def _makers(subject: Exported, model: Model, seed: int) -> list[str]:
    """The nodes that a search would hold for culprits, at one of the sizes."""
    graph = Graph(model)
    sizes = sizes_of(subject.name)
    (point,) = points(graph, [sizes[seed % len(sizes)]], None, seed)
    reference = PyTorch(subject.module, graph, limit=LIMIT, ranges=_ends(subject))
    suspect = OnnxRuntime(graph, name="ONNX Runtime", limit=LIMIT)
    allowed = Allowed(
        graph, None, bindings_of(graph.specs, point.inputs), products=Products.ROUNDED
    )
    scanned = scan(reference, suspect, graph.comparable, point.inputs, allowed.behind)
    values: dict[str, Any] = dict(reference.values(list(graph.values), point.inputs))
    found = []
    for part in partition(graph, list(scanned)):
        if all(name in values for name in part.tensors):
            replayed = replay(suspect, part, values, allowed)
            found += [node_name(part.nodes[-1])] if replayed.makes else []
    wrong = [name for name, deviation in scanned.items() if not deviation.agrees]
    return [*found, *(f"{name} in the whole" for name in wrong)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="without a fault, and random faults")
    parser.add_argument("--kit-seeds", type=int, default=5, help="for each fault of the kit")
    parser.add_argument("--show", action="store_true", help="print all that is wrong or unseen")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="locate-seeds-") as folder:
        all_exported = [exported(name, Path(folder)) for name in MODELS]
        for make in (
            lambda: [kit(options.kit_seeds)],
            lambda: [random_faults(all_exported, options.seeds)],
            lambda: [same(options.seeds)],
            lambda: agreeing(all_exported, options.seeds),
        ):
            start = time.perf_counter()
            made = make()
            for row in made:
                sizes = ", ".join(f"{n} of {size} nodes" for size, n in sorted(row.sizes.items()))
                print(
                    f"{row.name:20} {row.right:5} right {len(row.unseen):5} unseen "
                    f"{len(row.wrong):5} wrong {time.perf_counter() - start:7.1f} s"
                    + (f"; culprits: {sizes}" if sizes else "")
                )
                for line in row.wrong[: None if options.show else 10]:
                    print(f"  {line}")
                for line in row.unseen if options.show else ():
                    print(f"  unseen: {line}")
                sys.stdout.flush()
            rows += made
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
