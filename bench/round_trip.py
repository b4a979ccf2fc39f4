"""Tables written as verbose logs and read back, for every target.

    python bench/round_trip.py MODEL_OR_FOLDER ... [--targets 7.1,installed]

Compared are the tensors that the target reached, in order: name, operator, node and the shape that
it printed; and the version that is recognised. Weights that are missing are taken as zeros.

Exit code: 0 if all tables come back; 1 if not; 2 usage.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from models import models_of, with_weights
from tripoint import api
from tripoint.analysis.facts import of_recording
from tripoint.errors import TripointError
from tripoint.model import Model
from tripoint.report import verbose_log
from tripoint.table import TensorTable
from tripoint.views import log
from tripoint.views.importers import SUPPORTED

Row = tuple[str, str | None, str | None, tuple[int, ...] | None]


def rows(table: TensorTable) -> list[Row]:
    """What a log can hold of a table."""
    return [
        (facts.name, facts.op, facts.node, facts.tensorrt)
        for facts in table.tensors
        if facts.tensorrt is not None
    ]


def difference(model: Model, target: str) -> str | None:
    """The first row that does not come back; None if all do."""
    table = api.shapes(model, target=target)
    text = "\n".join(verbose_log.lines(table, model))
    (recording,) = log.read_stream(io.BytesIO(text.encode()), "round trip")
    expected, found = rows(table), rows(of_recording(recording).table)
    if expected == found:
        return None
    at = next(
        (i for i, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), -1
    )
    return f"{len(expected)} and {len(found)} rows, {expected[at]} became {found[at]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL_OR_FOLDER")
    parser.add_argument("--targets", default=",".join((*SUPPORTED, "installed")))
    options = parser.parse_args(arguments)
    same: Counter[str] = Counter()
    different: Counter[str] = Counter()
    for path in models_of(options.models):
        with tempfile.TemporaryDirectory(prefix="round-trip-") as folder:
            for target in options.targets.split(","):
                try:
                    found = difference(with_weights(path, Path(folder)), target)
                except TripointError as error:
                    print(f"{path.name}: {error}", file=sys.stderr)
                    return 2
                (same if found is None else different)[target] += 1
                if found is not None:
                    print(f"{path.stem} {target}: {found}", flush=True)
    for target in options.targets.split(","):
        print(f"{target:10} {same[target]:4} the same {different[target]:4} different")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
