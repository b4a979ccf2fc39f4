"""Right and wrong twins of many models, and what verdict each gets.

    python bench/verdicts.py [--jobs N] [--only KIND] [--json FILE] [--record docs/tolerance.md]
                             [--most N] [--engines | --zoo DIR]

Each model of ``verdict_models.py`` and ``verdict_more.py`` is compared with twins by what
``tripoint verify`` judges with: right ones (ONNX Runtime with all its optimizations, other kernels,
sums in another order, functions decomposed, products of TF32) and wrong ones with one fault each
(``verdict_faults.py``).

The *legitimate error* of a part of an output is the largest difference of any right leg from a
float64 run of the graph, over the points, but at least half an epsilon of a typical element. The
size of a fault is the largest difference that it makes in float64, in this unit. The same arrays
are shown to Polygraphy's default comparison and ``torch.testing.assert_close``.

With ``--engines`` twins are engines of TensorRT instead, of 20 of the models with and without TF32,
on a GPU. With ``--zoo DIR`` the models of a zoo (``zoo.tar.xz`` and ``materialize.py``, which makes
their weights) are compared without a fault, each with itself in another order of sums.

Exit code: 0 if no right twin is called different and every fault of more than 4 legitimate errors
is; 1 if not; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import verdict_engines
import verdict_zoo
import workers
from tripoint.errors import TripointError
from tripoint.trt import gpu
from verdict_models import KINDS
from verdict_pairs import Pair, compare
from verdict_table import LIMIT, document, lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge all pairs and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1, help="models at a time")
    parser.add_argument("--only", metavar="KIND", help="of a model, a twin or an element type")
    parser.add_argument("--most", type=int, help="faults of a file for each model, drawn from all")
    parser.add_argument("--json", type=Path, help="write every pair here")
    parser.add_argument("--record", type=Path, help="write the tables into this Markdown file")
    parser.add_argument("--engines", action="store_true", help="engines, on a GPU")
    parser.add_argument("--zoo", type=Path, metavar="DIR", help="models of a zoo without a fault")
    options = parser.parse_args(arguments)
    if options.zoo is not None:
        return without_faults(options.zoo, options.jobs, options.only, options.json)
    devices = gpu.probe() if options.engines else None
    if devices is not None and not devices.devices:
        print(f"no GPU: {devices.reason}", file=sys.stderr)
        return 2
    started = time.monotonic()
    chosen = [
        (kind.name, dtype, options.engines, options.most)
        for kind in KINDS
        for dtype in (ENGINES if options.engines else kind.types)
        if not options.engines or kind.name in verdict_engines.NAMES
    ]
    if options.only:
        groups = {kind.name: kind.group for kind in KINDS}
        some = [each for each in chosen if options.only in (*each[:2], groups[each[0]])]
        chosen = some or chosen
    rows: list[Pair] = []
    failures = 0
    with workers.pool(options.jobs) as pool:
        for name, found in zip(chosen, pool.map(by_name, *zip(*chosen, strict=True)), strict=True):
            failed = isinstance(found, str)
            said = found if isinstance(found, str) else f"{len(found)} pairs"
            print(*name[:2], said, file=sys.stderr, flush=True)
            failures += failed
            rows += [] if isinstance(found, str) else found
    if options.only and any(row.twin == options.only for row in rows):
        rows = [row for row in rows if row.twin == options.only]
    print("\n".join(lines(rows)))
    print(f"\n{time.monotonic() - started:.0f} s")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if options.record:
        document(options.record, rows, mark="engines" if options.engines else "")
    return int(failures > 0 or not met(rows))


def without_faults(zoo: Path, jobs: int, only: str | None, target: Path | None) -> int:
    """Compare the models of a zoo with themselves, and count alarms."""
    names = [name for name in verdict_zoo.names(zoo) if (only or "") in name]
    rows, failures = [], 0
    with workers.pool(jobs) as pool:
        for name, row in zip(
            names, pool.map(verdict_zoo.compare, [zoo] * len(names), names), strict=True
        ):
            if isinstance(row, str):
                failures += 1
                print(f"{name}: {row}", flush=True)
                continue
            rows.append(row)
            said = f"ALARM: {'; '.join(row.reasons)}" if row.alarm else f"{row.outputs} outputs"
            print(f"{row.name}: {said}, {row.excess:.2g} of what is allowed", flush=True)
    alarms = sum(row.alarm for row in rows)
    print(f"{len(rows)} models, {alarms} alarms, {failures} not compared")
    if target:
        target.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return int(alarms + failures > 0)


ENGINES = ("tf32", "float32")
"""How engines compute products."""


def by_name(name: str, dtype: str, engines: bool, most: int | None) -> list[Pair] | str:
    """All pairs of a model by its name, or why there are none."""
    if not engines:
        return compare(next(kind for kind in KINDS if kind.name == name), dtype, most)
    try:
        return verdict_engines.compare(name, dtype == "tf32")
    except TripointError as error:
        return f"failed: {error}"


def met(rows: Sequence[Pair]) -> bool:
    """Whether the goal is met."""
    return not any(
        row.verdict == "different"
        if row.right
        else row.verdict == "equal" and (row.size or 0.0) > LIMIT
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
