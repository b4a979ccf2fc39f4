from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.helpers.paths import EXAMPLES
from tripoint.trt import bindings, gpu

NEEDS_TORCH = re.compile(r"^pytestmark = .*\bneeds_torch\b", re.MULTILINE)


def lacking(config: pytest.Config) -> dict[str, str]:
    """Return the markers whose tests are left out here, each with the reason."""
    reasons = {}
    if not bindings.available() or gpu.absence():
        reasons["gpu"] = "no CUDA device, or no TensorRT"
    if importlib.util.find_spec("torch") is None:
        reasons["needs_torch"] = "PyTorch is not installed: pip install 'tripoint[torch]'"
    if not config.option.markexpr:
        reasons["slow"] = "`make test-all` runs them"
    return reasons


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [f"left out: tests marked {mark} ({why})" for mark, why in lacking(config).items()]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file that imports PyTorch where that is not installed, without importing it."""
    if collection_path.suffix != ".py" or "needs_torch" not in lacking(config):
        return None
    return bool(NEEDS_TORCH.search(collection_path.read_text(encoding="utf-8"))) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = lacking(config)
    gone = [item for item in items if any(item.get_closest_marker(mark) for mark in reasons)]
    config.hook.pytest_deselected(items=gone)
    left_out = set(gone)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES
