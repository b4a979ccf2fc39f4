"""True shapes against execution: every dim of every tensor, at three sizes.

    python bench/agreement.py MODEL_OR_FOLDER ... [--target installed]
    python bench/agreement.py --nodes

ONNX Runtime (CPU, graph optimizations off) runs each model with the shape of every tensor of its
main graph as an output, at three sizes of its symbols that are no multiples of each other; a model
without symbols runs once, which is all there is. Tensors of nested graphs are not seen from
outside and are counted as such. Weights that are missing become seeded random values in memory.

A dim is an integer, an expression, data-dependent (then it has one value in all of a run, within
the bounds that are given), or undecided. With ``--target`` the dims that this TensorRT prints as
-1 although three sizes gave one size are laid beside those that the table calls lost; where the
expression of such a dim has another size elsewhere, two places are printed.

``--nodes`` takes the node tests of the onnx package instead, each with its inputs fed, with its
inputs as constants, and with a symbol for every size; what the tests expect is the truth.

Exit code: 0 all agree; 1 something differs; 2 usage.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx_ir as ir

from models import models_of
from tripoint import api
from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.symbols import evaluate, symbols_of
from tripoint.table import TensorTable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.helpers import execution

SHOWN = 20
"""Lines of one kind that are printed for a model."""

FAR_APART = (1, 2, 3, 7, 31, 97, 1000, 10_007)
"""Sizes at which a dim is looked at that had one size in all runs."""


def lines(name: str, seconds: float, result: execution.Agreement, total: int) -> Iterator[str]:
    """What came out for one model."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in result.kinds.items())
    sizes = "; ".join(" ".join(f"{k}={v}" for k, v in p.items()) for p in result.points)
    runs = sizes or ("static, one run" if result.points else "did not run")
    yield (
        f"{name}: {result.tensors} of {total} tensors executed, {result.dims} dims "
        f"({kinds}), {result.agreeing} agree, {seconds:.1f} s [{runs}]"
    )
    yield from listed("differs", result.disagreements)
    yield from listed("rank not known", result.without_rank)
    if len(result.points) < (execution.POINTS if sizes else 1):
        yield from listed("did not run", result.failed)


def listed(label: str, entries: Sequence[str]) -> Iterator[str]:
    """Some of the entries, one a line."""
    yield from (f"  {label}: {entry}" for entry in entries[:SHOWN])
    if len(entries) > SHOWN:
        yield f"  {label}: {len(entries) - SHOWN} more"


def lost_lines(table: TensorTable, result: execution.Agreement) -> tuple[list[str], bool]:
    """The lost dims of a table beside those that execution shows, and whether they agree.

    A dim that had one size in all runs is not lost if its expression has another size elsewhere.
    """
    executed, called = set(), set()
    for facts in table.tensors:
        seen = {run[facts.name] for run in result.runs if facts.name in run}
        if facts.tensorrt is None or not seen or len({len(shape) for shape in seen}) != 1:
            continue
        called |= {(facts.name, axis) for axis in facts.lost}
        columns = list(zip(*seen, strict=True))
        if len(columns) == len(facts.tensorrt):
            executed |= {
                (facts.name, axis)
                for axis, sizes in enumerate(columns)
                if facts.tensorrt[axis] == -1 and len(set(sizes)) == 1
            }
    elsewhere = {
        (name, axis): text
        for name, axis in executed - called
        if (text := another_size(table, name, axis)) is not None
    }
    nested = sum(len(facts.lost) for facts in table.tensors) - len(called)
    missed = sorted(executed - called - elsewhere.keys())
    wrong = sorted(called - executed)
    shown = [
        f"  lost by execution {len(executed)}, of which {len(elsewhere)} vary at other sizes; "
        f"by the table {len(called)} and {nested} in tensors that were not executed",
        *listed("one size in all runs, not called lost", [f"{n} axis {a}" for n, a in missed]),
        *listed("called lost, several sizes", [f"{n} axis {a}" for n, a in wrong]),
        *listed("varies", [f"{n} axis {a}: {elsewhere[n, a]}" for n, a in sorted(elsewhere)]),
    ]
    return shown, not missed and not wrong


def another_size(table: TensorTable, name: str, axis: int) -> str | None:
    """Two bindings of the symbols at which a dim has two sizes; None if none were found."""
    dim = (table.by_name[name].shape or ())[axis]
    names = sorted(symbols_of(dim))
    found: dict[int, str] = {}
    for sizes in itertools.islice(itertools.product(FAR_APART, repeat=len(names)), 4096):
        bindings = dict(zip(names, sizes, strict=True))
        size = evaluate(dim, bindings)
        if size is not None:
            found.setdefault(size, " ".join(f"{k}={v}" for k, v in bindings.items()))
        if len(found) == 2:
            return ", ".join(f"{size} at {at}" for size, at in found.items())
    return None


def check_models(paths: Sequence[Path], target: str | None) -> bool:
    """Compare models, print, and say whether all agree."""
    totals: Counter[str] = Counter()
    for path in paths:
        started = time.perf_counter()
        try:
            model = ir.load(path)
            execution.with_weights(model)
            result = execution.agreement(model)
            flat = truth.inlined(model)
        except TripointError as error:
            print(f"{path.name}: {error}", flush=True)
            totals["models that could not be read"] += 1
            continue
        total = len(truth.names(flat))
        seconds = time.perf_counter() - started
        print(*lines(path.name, seconds, result, total), sep="\n", flush=True)
        if target:
            shown, agree = lost_lines(api.shapes(Model(flat), target=target), result)
            print(*shown, sep="\n", flush=True)
            totals["models whose lost dims differ"] += not agree
        totals.update(result.kinds)
        totals["models"] += 1
        totals["tensors"] += total
        totals["executed"] += result.tensors if result.points else 0
        totals["dims"] += result.dims
        totals["agreeing"] += result.agreeing
        totals["tensors that differ"] += len(result.disagreements)
        totals["models that did not run"] += not result.points
    if totals["tensors"]:
        totals["coverage in percent"] = round(100 * totals["executed"] / totals["tensors"])
    print("total: " + ", ".join(f"{name} {count}" for name, count in totals.items()))
    failed = (
        *("tensors that differ", "models that did not run", "models that could not be read"),
        "models whose lost dims differ",
    )
    return not any(totals[name] for name in failed)


def check_nodes() -> bool:
    """Compare the node tests of the onnx package, print, and say whether all agree."""
    totals: Counter[str] = Counter()
    for case in execution.node_cases():
        for mode in execution.MODES:
            counts, wrong = execution.node_agreement(case, mode)
            totals.update({f"{mode} {kind}": count for kind, count in counts.items()})
            totals["differences"] += len(wrong)
            for text in wrong:
                print(f"{case.name}, {mode}: {text}", flush=True)
    print("total: " + ", ".join(f"{name} {count}" for name, count in sorted(totals.items())))
    return not totals["differences"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(prog="agreement.py", description="true shapes by execution")
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="files or folders")
    parser.add_argument("--target", metavar="NAME", help="also compare lost dims, as shapes does")
    parser.add_argument("--nodes", action="store_true", help="the node tests of onnx")
    options = parser.parse_args(arguments)
    if bool(options.models) == options.nodes:
        parser.error("give models or --nodes")
    if options.nodes:
        return int(not check_nodes())
    paths = list(models_of(options.models))
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such file: {', '.join(missing)}")
    return int(not check_models(paths, options.target))


if __name__ == "__main__":
    sys.exit(main())
