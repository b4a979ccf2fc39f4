"""The node tests of the onnx package still give what they gave, whatever a fix does to them.

``python bench/fixes.py --nodes`` takes all of them, in all ways, for several targets.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.execution import MODES, NodeCase, node_cases
from tests.helpers.fixing import node_fix
from tests.helpers.marks import installed

SEVERAL, SINGLE = 9, 18
"""Of the tests of several nodes and of a single one, one of so many is taken, another each time."""

EVERY = [pytest.param(1, marks=pytest.mark.slow, id="all of these"), pytest.param(3, id="a third")]


@pytest.fixture(scope="module")
def cases() -> list[NodeCase]:
    return list(node_cases())


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("target", ["7.1", "10.1"])
@pytest.mark.parametrize("mode", MODES)
def test_what_ran_gives_the_same(
    cases: list[NodeCase], tmp_path: Path, mode: str, target: str, every: int
) -> None:
    start = MODES.index(mode) + 3 * (target == "7.1")
    several = [case for case in cases if len(case.model.graph.node) > 1]
    single = [case for case in cases if len(case.model.graph.node) == 1]
    chosen = several[start :: SEVERAL * every] + single[start :: SINGLE * every]
    counts, faults = judged(chosen, mode, target, tmp_path)
    assert faults == []
    assert counts["as expected"] > 0.5 * counts.total()
    assert counts["rewritten"] > 20 / every


@pytest.mark.parametrize("target", [installed])
def test_what_ran_gives_the_same_with_the_installed_parser(
    cases: list[NodeCase], tmp_path: Path, target: str
) -> None:
    _, faults = judged(cases[5 :: 12 * SEVERAL], "symbolic", target, tmp_path)
    assert faults == []


def judged(
    cases: list[NodeCase], mode: str, target: str, folder: Path
) -> tuple[Counter[str], list[str]]:
    """How often each kind came out, how many models were rewritten, and what changed."""
    counts: Counter[str] = Counter()
    faults = []
    for case in cases:
        outcome = node_fix(case, mode, target, folder, twice=False)
        counts[outcome.kind] += 1
        counts["rewritten"] += bool(outcome.result.applied)
        faults += [f"{case.name}: {each}" for each in outcome.faults if each.kind == "changed"]
    return counts, faults
