"""Folders and files that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
EXAMPLES = ROOT / "examples"
SEED = EXAMPLES / "seed"
TESTS = ROOT / "tests"
SNAPSHOTS = TESTS / "snapshots"
LOGS = TESTS / "logs"

SHARED = ROOT.parent / "shared"
"""Data beside the project, where it is; tests of it are skipped elsewhere."""
ZOO = SHARED / "zoo"
ARCHIVE = ZOO / "zoo.tar.xz"
"""Structures of well-known models."""
