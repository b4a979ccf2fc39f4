"""How much of the package a command imports."""

from __future__ import annotations

import subprocess
import sys

from tests.helpers.graphs import GRAPH_A

MOST = 80


def test_shapes_imports_a_part_of_the_package() -> None:
    program = (
        "import sys\n"
        "from tripoint.cli import app\n"
        f"try: app(['shapes', {str(GRAPH_A)!r}, '--target', '7.1'], standalone_mode=True)\n"
        "except SystemExit: pass\n"
        "print('modules', *sorted(m for m in sys.modules if m.split('.')[0] == 'tripoint'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    last = ran.stdout.splitlines()[-1].split()
    assert last[0] == "modules"
    modules = last[1:]
    assert "tripoint.views.importer_v7.versions" in modules
    assert len(modules) <= MOST, f"{len(modules)} modules: {modules}"
