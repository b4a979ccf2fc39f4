"""What ``tripoint fix`` makes of models, beside onnxsim, OnnxSlim and Polygraphy.

    python bench/fixes.py MODEL_OR_FOLDER ... [--targets installed,7.1,8.6] [--peers VENV]
                          [--numeric] [--build] [--json FILE]
    python bench/fixes.py --nodes [--targets 7.1,10.1]

For each model: the nodes, and for each target the lost dims, as exported and behind each tool; the
layers of the network that the installed TensorRT parses; wall time and peak memory of the tool,
from one run that is watched (``peers.py`` measures with more care). Then what remains lost, with
the reasons. VENV is an environment with ``bench/requirements.txt``. Weights that are missing become
seeded random values in a temporary folder.

``--numeric`` runs ONNX Runtime before and behind each fix, at three sizes of the symbols, and
compares all outputs; ``--build`` builds engines of both, over these sizes.

``--nodes`` takes the node tests of the onnx package instead: as they are, with constants for
inputs, and with a symbol for every size. Wherever ONNX Runtime runs one, it must give the same
behind the fix.

Exit code: 0 all is well; 1 a dim is lost without a reason that holds, a fixed model has over 5 %
more nodes than OnnxSlim's, other numbers, no engine, or a fix failed; 2 usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

import measure
from models import models_of
from peers import TOOLS, Tool
from tripoint import api
from tripoint import model as models
from tripoint.errors import TripointError
from tripoint.model import external_tensors
from tripoint.numeric import ort
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.shape_inference import truth
from tripoint.spec import Spec
from tripoint.tolerance.derivation import Budget

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.helpers import execution, fixing

MORE_NODES = 1.05
"""How many times the nodes of OnnxSlim's result a fixed model may have."""

_NAME = re.compile("`[^`]*`")

NO_REASON = ("the proof failed", "it takes the loss over")
"""How reasons begin that do not say why a dim could not be made known."""

SHOWN = 8
"""Names that are printed in one line."""


def fix_command(target: str) -> Tool:
    """The command that fixes a model for a target; its report goes beside the result."""
    return Tool(
        f"tripoint fix MODEL -o OUT --target {target} --no-numeric-proof -q "
        "--format json --output-file report.json"
    )


@dataclass
class Row:
    """One state of a model: as exported, or behind a tool.

    Args:
        name: Of the tool.
        nodes: Number of nodes, None if there is no result.
        lost: Lost dims by target.
        layers: Layers of the network that the installed TensorRT parses.
        seconds: Wall time of the tool.
        mib: Its peak memory.
        failed: Why there is no result.
    """

    name: str
    nodes: int | None = None
    lost: dict[str, int] = field(default_factory=dict)
    layers: int | None = None
    seconds: float | None = None
    mib: float | None = None
    failed: str = ""


@dataclass
class Result:
    """Everything about one model.

    Args:
        model: Its file name.
        rows: Its states, the first as exported.
        remaining: Tensor and reason of what is lost, by target.
        checks: Sentences about numbers and engines.
        faults: What must not be.
    """

    model: str
    rows: list[Row] = field(default_factory=list)
    remaining: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


# One model


def with_weights(path: Path, folder: Path) -> Path:
    """The model itself, or a copy in a folder with random values for the weights that it lacks."""
    model = ir.load(path)
    if all(Path(t.base_dir, t.location).exists() for t in external_tensors(model)):
        return path
    execution.with_weights(model)
    copy = folder / path.name
    ir.save(model, copy, external_data=f"{path.name}.data", size_threshold_bytes=1024)
    return copy


class Comparison:
    """Runs the tools on one model, each in a folder of its own.

    Args:
        path: The model, with its weights.
        folder: For everything that is written.
        targets: Whose views are taken.
        peers: Environment of the peers, if they are wanted.
        timeout: Seconds that one run may take.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        targets: Sequence[str],
        peers: Path | None,
        timeout: float,
    ) -> None:
        self.path = path
        self.folder = folder
        self.targets = targets
        self.peers = peers
        self.timeout = timeout
        self.result = Result(path.name)
        self.fixed: dict[str, Path] = {}

    def run(self) -> Result:
        """The table of the model."""
        rows = self.result.rows
        rows.append(self._seen(Row("as exported"), self.path, self.targets))
        for target in self.targets:
            row, output = self._made(f"fix {target}", fix_command(target))
            rows.append(row)
            if output is None:
                self.result.faults.append(f"{row.name}: {row.failed}")
            else:
                self.fixed[target] = output
                self._seen(row, output, [target])
                self._judge_remaining(target, output)
        if self.peers is not None:
            for tool in (tool for tool in TOOLS if tool.is_peer):
                row, output = self._made(tool.command.split()[0], tool)
                rows.append(row)
                if output is not None:
                    self._seen(row, output, self.targets)
            self._judge_nodes()
        return self.result

    def _made(self, name: str, tool: Tool) -> tuple[Row, Path | None]:
        """Run a tool; its row so far, and what it wrote."""
        folder = self.folder / name.replace(" ", "-")
        folder.mkdir()
        output, log = folder / self.path.name, folder / "log.txt"
        programs = Path(sys.executable).parent
        if tool.is_peer and self.peers is not None:
            programs = self.peers / "bin"
        run = measure.run(
            tool.line(programs, self.path, output),
            folder=folder,
            environment={**os.environ, "NO_COLOR": "1", "TMPDIR": str(folder)},
            log=log,
            timeout=self.timeout,
            watch=True,
        )
        row = Row(name, seconds=run.seconds, mib=run.peak_kib / 1024)
        if run.code == 0 and output.is_file():
            return row, output
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        row.failed = "out of time" if run.code is None else (said or ["said nothing"])[-1]
        return row, None

    def _seen(self, row: Row, path: Path, targets: Sequence[str]) -> Row:
        """Fill in what targets see of a result."""
        try:
            model = models.load(path)
            row.nodes = model.nodes
            for target in targets:
                table = api.shapes(model, target=target)
                row.lost[target] = table.summary.lost_dims
                row.layers = table.layers if table.layers is not None else row.layers
        except TripointError as error:
            row.failed = str(error)
        return row

    def _judge_remaining(self, target: str, output: Path) -> None:
        report = json.loads((output.parent / "report.json").read_text(encoding="utf-8"))
        reasons = {each["tensor"]: each["reason"] for each in report["remaining"]}
        if not reasons:
            return
        table = api.shapes(output, target=target)
        origins = [name for name in table.origins if name in reasons]
        self.result.remaining[target] = [(name, reasons[name]) for name in origins]
        unexplained = [name for name in origins if reasons[name].startswith(NO_REASON)]
        if unexplained or not origins:
            some = ", ".join(f"`{name}`" for name in (unexplained or list(reasons))[:SHOWN])
            self.result.faults.append(f"{target}: lost without a reason that holds: {some}")

    def _judge_nodes(self) -> None:
        slim = next(row for row in self.result.rows if row.name == "onnxslim")
        for row in self.result.rows:
            over = row.nodes and slim.nodes and row.nodes > MORE_NODES * slim.nodes
            if row.name.startswith("fix ") and over:
                self.result.faults.append(f"{row.name}: {row.nodes} nodes, OnnxSlim {slim.nodes}")

    # Numbers and engines

    def compare_numbers(self) -> list[Mapping[str, int]]:
        """Run all models in ONNX Runtime; the sizes at which the original ran."""
        model = models.load(self.path)
        annotated = model.ir.clone()
        known = truth.annotate(annotated)
        inputs, names = inputs_of(model), sorted(known.symbols)
        candidates = list(execution.points(names)) if names else [{}] * execution.POINTS
        try:
            reference = ort.Session(model)
        except TripointError as error:
            self.result.checks.append(f"numbers: the original does not load: {error}")
            return []
        expected: list[tuple[Mapping[str, int], Any, Any]] = []
        for seed, point in enumerate(candidates):
            try:
                feed = generate(inputs, point, seed, model=model)
                expected.append((point, feed, reference.run(feed)))
            except TripointError:
                continue
            if len(expected) == execution.POINTS:
                break
        outputs, budget = reference.outputs, Budget(annotated)
        del reference
        for target, path in self.fixed.items():
            self._compare(target, path, outputs, expected, budget)
        if not expected:
            self.result.checks.append("numbers: the original runs at no size that was tried")
        return [point for point, _, _ in expected]

    def _compare(
        self,
        target: str,
        path: Path,
        outputs: Sequence[str],
        expected: Sequence[tuple[Mapping[str, int], Any, Any]],
        budget: Budget,
    ) -> None:
        identical = total = 0
        worst = 0.0
        try:
            fixed = ort.Session(models.load(path))
            if list(fixed.outputs) != list(outputs):
                self.result.faults.append(f"fix {target}: outputs {outputs} are {fixed.outputs}")
                return
            for point, feed, arrays in expected:
                named = dict(zip(outputs, arrays, strict=True))
                allowed = budget.allowed(named, point)
                for name, array in zip(outputs, fixed.run(feed), strict=True):
                    total += 1
                    identical += fixing.same(named[name], array)
                    share = _share(named[name], array, allowed[name].atol, allowed[name].rtol)
                    worst = max(worst, share)
                    if not share <= 1.0:
                        text = f"fix {target}: `{name}` differs at {dict(point)}"
                        self.result.faults.append(text)
        except TripointError as error:
            self.result.faults.append(f"fix {target}: it does not run any more: {error}")
            return
        self.result.checks.append(
            f"numbers {target}: {identical} of {total} outputs identical at {len(expected)} "
            f"sizes, the others at {worst:.2g} of their tolerance at most"
        )

    def build(self, points: Sequence[Mapping[str, int]]) -> None:
        """Build an engine of the original and of each fixed model."""
        ranges = {name: sorted(point[name] for point in points) for name in (*points, {})[0]}
        dims = [
            f"{name}={sizes[0]}..{sizes[len(sizes) // 2]}..{sizes[-1]}"
            for name, sizes in ranges.items()
        ]
        before = self._builds("original", self.path, dims)
        for target, path in self.fixed.items():
            after = self._builds(target, path, dims)
            said = f"engine {target}: before {before or 'built'}; behind the fix {after or 'built'}"
            (self.result.faults if after and not before else self.result.checks).append(said)

    def _builds(self, name: str, path: Path, dims: Sequence[str]) -> str:
        """Why no engine can be built; empty if it can."""
        try:
            api.build(
                path,
                self.folder / f"{name}.plan",
                spec=Spec.parse([], dims),
                timeout=self.timeout,
            )
        except TripointError as error:
            return f"refused ({str(error).splitlines()[0][:160]})"
        return ""


def _share(expected: Any, actual: Any, atol: float, rtol: float) -> float:
    """The largest difference as a share of what is allowed; infinite if not comparable."""
    if fixing.same(expected, actual, signed=False):
        return 0.0
    if expected.shape != actual.shape or expected.dtype.kind != "f":
        return float("inf")
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(expected.astype(np.float64) - actual)
        shares = np.where(expected == actual, 0.0, difference / (atol + rtol * np.abs(expected)))
    return float(np.nan_to_num(shares, nan=np.inf).max(initial=0.0))


# Text


def lines(result: Result, targets: Sequence[str], seconds: float) -> Iterator[str]:
    """The table of one model."""
    yield f"{result.model}, {seconds:.0f} s"
    heads = "".join(f" {'lost ' + target:>14}" for target in targets)
    yield f"  {'':<14} {'nodes':>6}{heads} {'layers':>7} {'seconds':>8} {'MiB':>6}"
    for row in result.rows:
        cells = (f"{_or_dash(row.lost.get(target)):>14}" for target in targets)
        time_, memory = _or_dash(row.seconds, ".1f"), _or_dash(row.mib, ".0f")
        yield (
            f"  {row.name:<14} {_or_dash(row.nodes):>6} {' '.join(cells)} "
            f"{_or_dash(row.layers):>7} {time_:>8} {memory:>6}  {row.failed[:100]}"
        ).rstrip()
    for target, entries in result.remaining.items():
        alike: dict[str, list[str]] = {}
        for name, reason in entries:
            alike.setdefault(_NAME.sub("`…`", reason), []).append(name)
        for reason, names in alike.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            yield f"  remains for {target}: `{names[0]}`{more}: {reason}"
    yield from (f"  {text}" for text in result.checks)
    yield from (f"  FAULT {text}" for text in result.faults)


def _or_dash(number: float | None, form: str = "") -> str:
    return "-" if number is None else format(number, form)


def compare_models(options: argparse.Namespace, targets: Sequence[str]) -> bool:
    """Compare models, print, and say whether all is well."""
    results = []
    for path in models_of(options.models):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="fixes-") as name:
            folder = Path(name)
            try:
                given = with_weights(path, folder)
                comparison = Comparison(given, folder, targets, options.peers, options.timeout)
                result = comparison.run()
                points = comparison.compare_numbers() if options.numeric else []
                if options.build:
                    comparison.build(points)
            except TripointError as error:
                result = Result(path.name, faults=[str(error)])
        results.append(result)
        took = time.perf_counter() - started
        print("", *lines(result, targets, took), sep="\n", flush=True)
    print("", *totals(results, targets), sep="\n")
    if options.json:
        document = [dataclasses.asdict(result) for result in results]
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return not any(result.faults for result in results)


def totals(results: Sequence[Result], targets: Sequence[str]) -> Iterator[str]:
    """Sums over all models."""
    faults = sum(bool(result.faults) for result in results)
    yield f"{len(results)} models, {faults} with faults"
    names = dict.fromkeys(row.name for result in results for row in result.rows)
    for name in names:
        rows = [row for result in results for row in result.rows if row.name == name]
        done = [row for row in rows if row.nodes is not None]
        lost = ", ".join(
            f"{target} {sum(row.lost.get(target, 0) for row in done)} in "
            f"{sum(bool(row.lost.get(target)) for row in done)} models"
            for target in targets
            if any(target in row.lost for row in done)
        )
        nodes = sum(row.nodes or 0 for row in done)
        seconds = sum(row.seconds or 0.0 for row in done)
        yield (
            f"  {name:<14} {len(done)} of {len(rows)} models, {nodes} nodes, {seconds:.0f} s; "
            f"lost dims: {lost}"
        )


# The node tests of the onnx package


def check_nodes(targets: Sequence[str]) -> bool:
    """Fix the node tests, print what is wrong, count, and say whether all is well."""
    cases = list(execution.node_cases())
    well = True
    for target in targets:
        for mode in execution.MODES:
            counts: Counter[str] = Counter()
            with tempfile.TemporaryDirectory(prefix="fixes-") as name:
                for case in cases:
                    try:
                        outcome = fixing.node_fix(case, mode, target, Path(name), twice=True)
                    except Exception as error:  # noqa: BLE001  # a crash is what is looked for
                        counts["crashes"] += 1
                        print(f"{case.name}, {mode}, {target}: {error!r}", flush=True)
                        continue
                    counts[outcome.kind] += 1
                    counts["rewritten"] += bool(outcome.result.applied)
                    for fault in outcome.faults:
                        counts[fault.kind] += 1
                        print(
                            f"{case.name}, {mode}, {target}: {fault.kind}: {fault.text}", flush=True
                        )
            said = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
            print(f"{len(cases)} tests {mode}, {target}: {said}", flush=True)
            bad = ("crashes", "changed", "unproven", "unsettled")
            well = well and not any(counts[kind] for kind in bad)
    return well


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(prog="fixes.py", description="what fix makes of models")
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="files or folders")
    parser.add_argument("--nodes", action="store_true", help="the node tests of onnx")
    parser.add_argument("--targets", metavar="NAMES", help="default: installed,7.1,8.6")
    parser.add_argument("--peers", type=Path, metavar="VENV", help="has bench/requirements.txt")
    parser.add_argument("--numeric", action="store_true", help="compare outputs as well")
    parser.add_argument("--build", action="store_true", help="build engines; needs --numeric")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument(
        "--timeout", type=float, default=900.0, metavar="SECONDS", help="for one run; default: 900"
    )
    options = parser.parse_args(arguments)
    if bool(options.models) == options.nodes:
        parser.error("give models or --nodes")
    if options.build and not options.numeric:
        parser.error("--build takes the sizes that --numeric finds")
    targets = (options.targets or ("7.1,10.1" if options.nodes else "installed,7.1,8.6")).split(",")
    if options.nodes:
        return int(not check_nodes(targets))
    if missing := [str(path) for path in models_of(options.models) if not path.is_file()]:
        parser.error(f"no such file: {', '.join(missing)}")
    if options.peers is not None:
        options.peers = options.peers.absolute()
    return int(not compare_models(options, targets))


if __name__ == "__main__":
    sys.exit(main())
