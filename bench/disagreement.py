"""The model of an importer against a real parser: the shape of every tensor, side by side.

    python bench/disagreement.py MODEL_OR_FOLDER ... [--version 10.1] [--tensorrt NAME]

Weights that are missing are taken as zeros; the parser reads their shapes only. A tensor counts
as compared if both have seen it: a parser that stops at a node has not seen what follows.

Where a disagreement is the known difference between the two versions, it is listed as explained.
The explanations are a table below, and each looks at the node: an operator is not excused as such.

Exit code: 0 if all agree or are explained; 1 if not; 2 usage.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from models import models_of, with_weights
from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.symbols import Shape
from tripoint.table import ViewShape
from tripoint.views import importers, installed

SHOWN = 20
"""Disagreements that are printed."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A difference between two versions that makes their shapes differ.

    Args:
        text: What the versions do.
        holds: Whether it is about this node.
    """

    text: str
    holds: Callable[[ir.Node], bool]


EXPLANATIONS: Mapping[str, Explanation] = {
    "ReduceLogSumExp": Explanation(
        "up to 10.1 an axes input is not passed on and all axes are reduced",
        lambda node: len(node.inputs) > 1 and node.inputs[1] is not None,
    ),
}
"""By operator of the node at which the disagreement starts."""


@dataclass
class Comparison:
    """What came out for one model.

    Args:
        compared: Tensors that both have seen.
        equal: Those with the same shape in both.
        unseen: Tensors that only one of the two has seen.
        lost: Lost dims among the compared tensors, of the real parser and of the model.
        starts: Disagreements that no input explains: tensor, operator, both shapes.
        explained: Known differences among them, by text.
    """

    compared: int = 0
    equal: int = 0
    unseen: int = 0
    lost: tuple[int, int] = (0, 0)
    starts: list[tuple[str, str, ViewShape, ViewShape]] = field(default_factory=list)
    explained: Counter[str] = field(default_factory=Counter)


def compare(model: Model, version: str, tensorrt: str | None = None) -> Comparison:
    """Compare the views of one model.

    Args:
        model: The model, with its weights.
        version: Of the modelled importer.
        tensorrt: Name of the importable TensorRT, None for the first found.
    """
    true = truth.infer(model.ir).shapes
    real = installed.view(model, tensorrt=tensorrt).shapes
    modelled = importers.view(model, true, version).shapes
    both = [name for name in real if name in modelled]
    differing = {name for name in both if tuple(real[name]) != tuple(modelled[name])}
    result = Comparison(
        compared=len(both),
        equal=len(both) - len(differing),
        unseen=len(real) + len(modelled) - 2 * len(both),
        lost=(_lost(real, true, both), _lost(modelled, true, both)),
    )
    for node in model.ir.graph.all_nodes():
        if any(value is not None and value.name in differing for value in node.inputs):
            continue
        for value in node.outputs:
            name = value.name or ""
            if name not in differing:
                continue
            known = EXPLANATIONS.get(node.op_type)
            if known is not None and known.holds(node):
                result.explained[f"{node.op_type}: {known.text}"] += 1
            else:
                shapes = (real[name], modelled[name])
                result.starts.append((name, node.op_type, *shapes))
    return result


def _lost(
    view: Mapping[str, ViewShape], true: Mapping[str, Shape | None], names: Sequence[str]
) -> int:
    total = 0
    for name in names:
        shape = true.get(name)
        if shape is not None and len(shape) == len(view[name]):
            pairs = zip(view[name], shape, strict=True)
            total += sum(seen == -1 and isinstance(dim, int) for seen, dim in pairs)
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL_OR_FOLDER")
    parser.add_argument("--version", default="10.1", choices=importers.SUPPORTED)
    parser.add_argument("--tensorrt", help="importable TensorRT, if there are several")
    options = parser.parse_args(arguments)
    starts: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    examples: list[str] = []
    compared = equal = count = 0
    for path in models_of(options.models):
        with tempfile.TemporaryDirectory(prefix="disagreement-") as folder:
            try:
                model = with_weights(path, Path(folder))
                result = compare(model, options.version, options.tensorrt)
            except TripointError as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                return 2
        count, compared, equal = count + 1, compared + result.compared, equal + result.equal
        explained += result.explained
        print(
            f"{path.stem:30} {result.compared:5} compared {result.equal:5} equal "
            f"{result.unseen:5} seen by one only; lost dims {result.lost[0]} and {result.lost[1]}"
        )
        for name, op, real, modelled in result.starts:
            starts[op] += 1
            examples.append(f"  {path.stem} {op} `{name}`: parser {real}, model {modelled}")
    print(f"\n{count} models, {compared} tensors compared, {equal} equal")
    for text, number in explained.most_common():
        print(f"explained {number:5} {text}")
    for op, number in starts.most_common():
        print(f"unexplained {number:3} {op}")
    print("\n".join(examples[:SHOWN]))
    return 1 if starts else 0


if __name__ == "__main__":
    sys.exit(main())
