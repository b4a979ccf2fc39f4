"""The table of docs/gpu-runs.md out of what ``pytest -m gpu`` recorded.

TRIPOINT_GPU_RECORD=record.jsonl python -m pytest -m gpu
python bench/gpu_table.py record.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HEAD = ("example", "exporter", "sizes", "float32", "engine of", "verdict", "points", "max abs")


def main() -> None:
    """Print the rows of a record, one for each engine that was compared."""
    print(f"| {' | '.join(HEAD)} | allowed (absolute) |")
    print("|" + "---|" * (len(HEAD) + 1))
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        cells = (
            row["example"],
            row["exporter"],
            "dynamic" if row["dynamic"] else "static",
            "TF32" if row["tf32"] else "exact",
            "exported graph" if row["stage"] == "before" else "fixed graph",
            row["verdict"],
            row["points"],
            f"{row['max_abs']:.2g}",
            f"{row['allowed']:.2g}",
        )
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
