from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.paths import EXAMPLES
from tripoint.trt import bindings, gpu


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if bindings.available() and not gpu.absence():
        return
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=gpu_items)
    items[:] = [item for item in items if item not in gpu_items]


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES
