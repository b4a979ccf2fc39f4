"""The tables of docs/fixes.md out of what ``bench/fixes.py --json`` wrote.

python bench/fixes_table.py FIXES.json ...
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PEERS = ("onnxslim", "onnxsim", "polygraphy")
TARGETS = ("installed", "7.1", "8.6")


def main() -> None:
    """Print one table of nodes and lost dims, and one of layers, time and memory."""
    results = [each for name in sys.argv[1:] for each in json.loads(Path(name).read_text())]
    results.sort(key=lambda each: str(each["model"]))
    heads = ("model", "nodes", *(f"fix {target}" for target in TARGETS), *PEERS)
    lost = [f"lost {target}" for target in ("installed", "7.1")]
    print(
        *table(
            (*heads, *(f"{each}: exported, fix, {', '.join(PEERS)}" for each in lost)),
            [_nodes(each) for each in results],
        ),
        sep="\n",
    )
    print()
    heads = ("model", "layers: exported, fix, " + ", ".join(PEERS))
    heads = (*heads, "seconds: fix, " + ", ".join(PEERS), "MiB: fix, " + ", ".join(PEERS))
    print(*table(heads, [_cost(each) for each in results]), sep="\n")
    print()
    for each in results:
        for fault in each["faults"]:
            print(f"- {each['model']}: {fault}")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _nodes(result: Mapping[str, Any]) -> list[str]:
    rows = {row["name"]: row for row in result["rows"]}
    first = rows["as exported"]
    tools = [*(f"fix {target}" for target in TARGETS), *PEERS]
    cells = [_name(result), str(first["nodes"])]
    cells += [_cell(rows, tool, "nodes") for tool in tools]
    for target in ("installed", "7.1"):
        states = ["as exported", f"fix {target}", *PEERS]
        cells.append(" ".join(_lost(rows, state, target) for state in states))
    return cells


def _cost(result: Mapping[str, Any]) -> list[str]:
    rows = {row["name"]: row for row in result["rows"]}
    tools = ["fix installed", *PEERS]
    layers = " ".join(_cell(rows, tool, "layers") for tool in ("as exported", *tools))
    seconds = " ".join(_cell(rows, tool, "seconds", ".1f") for tool in tools)
    memory = " ".join(_cell(rows, tool, "mib", ".0f") for tool in tools)
    return [_name(result), layers, seconds, memory]


def _name(result: Mapping[str, Any]) -> str:
    return str(result["model"]).removesuffix(".onnx")


def _lost(rows: Mapping[str, Any], state: str, target: str) -> str:
    found = rows[state]["lost"].get(target) if state in rows else None
    return "-" if found is None else str(found)


def _cell(rows: Mapping[str, Any], name: str, key: str, form: str = "") -> str:
    found = rows[name][key] if name in rows else None
    return "-" if found is None else format(found, form)


if __name__ == "__main__":
    main()
