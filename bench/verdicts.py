"""Right and wrong twins of many models, and what verdict each gets.

    python bench/verdicts.py [--jobs N] [--only KIND] [--json FILE] [--record docs/tolerance.md]

Each model of ``verdict_models.py`` and ``verdict_more.py`` is compared with twins by what
``tripoint verify`` judges with: right ones (ONNX Runtime with all its optimizations, other kernels,
sums in another order, functions decomposed, products of TF32) and wrong ones with one fault each
(``verdict_faults.py``).

The *legitimate error* of a part of an output is the largest difference of any right leg from a
float64 run of the graph, over the points, but at least half an epsilon of a typical element. The
size of a fault is the largest difference that it makes in float64, in this unit. The same arrays
are shown to Polygraphy's default comparison and ``torch.testing.assert_close``.

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

import verdict_more  # noqa: F401  (adds its models to the list)
import workers
from verdict_models import KINDS
from verdict_pairs import Pair, compare
from verdict_table import LIMIT, document, lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge all pairs and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1, help="models at a time")
    parser.add_argument("--only", metavar="KIND", help="of a model, a twin or an element type")
    parser.add_argument("--json", type=Path, help="write every pair here")
    parser.add_argument("--record", type=Path, help="write the tables into this Markdown file")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    chosen = [(kind, dtype) for kind in KINDS for dtype in kind.types]
    if options.only:
        wanted = options.only
        some = [each for each in chosen if wanted in (each[0].group, each[0].name, each[1])]
        chosen = some or chosen
    rows: list[Pair] = []
    with workers.pool(options.jobs) as pool:
        names = [(kind.name, dtype) for kind, dtype in chosen]
        for name, found in zip(names, pool.map(by_name, *zip(*names, strict=True)), strict=True):
            rows += found
            print(*name, len(found), "pairs", file=sys.stderr, flush=True)
    if options.only and any(row.twin == options.only for row in rows):
        rows = [row for row in rows if row.twin == options.only]
    print("\n".join(lines(rows)))
    print(f"\n{time.monotonic() - started:.0f} s")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if options.record:
        document(options.record, rows)
    return int(not met(rows))


def by_name(name: str, dtype: str) -> list[Pair]:
    """All pairs of a model by its name."""
    return compare(next(kind for kind in KINDS if kind.name == name), dtype)


def met(rows: Sequence[Pair]) -> bool:
    """Whether the goal is met."""
    return not any(
        row.verdict == "different" if row.right else row.verdict == "equal" and row.size > LIMIT
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
