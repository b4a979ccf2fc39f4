"""The tables of ``bench/verdicts.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LIMIT = 4.0
"""Legitimate errors above which every fault has to be found."""
CLASSES = ((0.0, 1.0), (1.0, LIMIT), (LIMIT, 8.0), (8.0, 16.0), (16.0, 256.0), (256.0, 1e99))
BEGIN, END = "<!-- bench/verdicts.py{} -->", "<!-- end of bench/verdicts.py{} -->"
"""Marks in a document, with what is between."""
VERDICTS = ("different", "unproven", "equal")
SHOWN = 12
"""Pairs of a kind that are listed in a document; the JSON has all."""


def lines(rows: Sequence[Any], *, most: int | None = None) -> Iterator[str]:
    """All tables.

    Args:
        rows: The pairs.
        most: How many pairs to list of a kind, None for all.
    """
    right = [row for row in rows if row.right]
    wrong = [row for row in rows if not row.right]
    models = {(row.model, row.dtype) for row in rows}
    yield (
        f"{len(rows)} pairs of {len(models)} models ({len({row.model for row in rows})} graphs): "
        f"{len(right)} right twins, {len(wrong)} wrong ones."
    )
    yield ""
    yield from _by_size(wrong, right)
    yield ""
    yield from _by_model(rows)
    yield ""
    yield from _by_twin(rows)
    unseen = [row for row in wrong if row.verdict == "equal"]
    alarms = [row for row in right if row.verdict == "different"]
    yield from _list("Right twins that are called different", alarms, most)
    above = [row for row in unseen if row.size > LIMIT]
    yield from _list(f"Unseen faults of more than {LIMIT:g} legitimate errors", above, most)
    below = [row for row in unseen if row.size <= LIMIT]
    yield from _list(f"Unseen faults of up to {LIMIT:g}", below, most)


def _by_size(wrong: Sequence[Any], right: Sequence[Any]) -> Iterator[str]:
    yield (
        "| size of the fault, in legitimate errors | pairs | different | unproven | equal "
        "| Polygraphy: different | assert_close: different |"
    )
    yield "|---|---|---|---|---|---|---|"
    yield f"| none: right twins | {_seen(right)} |"
    for low, high in CLASSES:
        some = [row for row in wrong if low < min(row.size, 1e98) <= high]
        said = f"{low:g} to {high:g}" if high < 1e99 else f"more than {low:g}"
        yield f"| {said} | {_seen(some)} |"


def _seen(rows: Sequence[Any]) -> str:
    others = (sum(not row.polygraphy for row in rows), sum(not row.assert_close for row in rows))
    return " | ".join(map(str, (len(rows), *_counts(rows), *others)))


def _counts(rows: Sequence[Any]) -> list[int]:
    return [sum(row.verdict == verdict for row in rows) for verdict in VERDICTS]


def _by_model(rows: Sequence[Any]) -> Iterator[str]:
    yield (
        "| models | right twins: different | unproven | equal "
        f"| faults above {LIMIT:g}: different | unproven | equal | up to {LIMIT:g}: equal |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for key in ("group", "dtype"):
        for value in dict.fromkeys(getattr(row, key) for row in rows):
            some = [row for row in rows if getattr(row, key) == value]
            above = [row for row in some if not row.right and row.size > LIMIT]
            below = [row for row in some if not row.right and row.size <= LIMIT]
            cells = (*_counts([row for row in some if row.right]), *_counts(above))
            last = f"{_counts(below)[-1]} of {len(below)}"
            yield f"| {value} | {' | '.join(map(str, (*cells, last)))} |"


def _by_twin(rows: Sequence[Any]) -> Iterator[str]:
    yield f"| twin | pairs | different | unproven | equal | of these above {LIMIT:g} |"
    yield "|---|---|---|---|---|---|"
    for right in (True, False):
        for twin in sorted({row.twin for row in rows if row.right == right}):
            some = [row for row in rows if row.twin == twin and row.right == right]
            above = sum(row.verdict == "equal" and row.size > LIMIT for row in some if not right)
            cells = (len(some), *_counts(some), "" if right else above)
            said = "right" if right else "wrong"
            yield f"| {said}: {twin} | {' | '.join(map(str, cells))} |"


def _list(title: str, rows: Sequence[Any], most: int | None) -> Iterator[str]:
    yield ""
    yield f"{title}: {len(rows) or 'none'}."
    if rows:
        yield ""
    ordered = sorted(rows, key=lambda row: -(row.size or 0))
    for row in ordered[:most]:
        size = f"{row.size:.3g} legitimate errors, " if row.size is not None else ""
        what = f"{row.twin}, {row.what}" if row.what else row.twin
        yield (
            f"- {row.model}, {row.dtype}, {row.leg}: {what}: {size}{row.excess:.2g} of what is "
            "allowed"
        )
    if most is not None and len(rows) > most:
        yield f"- and {len(rows) - most} more"


def document(path: Path, rows: Sequence[Any], mark: str = "") -> None:
    """Put the tables between the marks of a Markdown file.

    Args:
        path: The file; marks that it does not have are put at its end.
        rows: The pairs.
        mark: Which marks.
    """
    begin, end = (each.format(f" --{mark}" if mark else "") for each in (BEGIN, END))
    text = path.read_text(encoding="utf-8")
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    made = "\n".join(lines(rows, most=SHOWN)).strip()
    path.write_text(f"{before}{begin}\n\n{made}\n\n{end}{after}", encoding="utf-8")
