from __future__ import annotations

import importlib
import inspect

import pytest

from tripoint.tasks import worker
from tripoint.trt import process


@pytest.mark.parametrize("task", worker.TASKS)
def test_every_task_has_a_module_that_runs_it(task: str) -> None:
    run = importlib.import_module(worker.TASKS[task]).run
    assert list(inspect.signature(run).parameters) == ["request", "emit"]


def test_the_child_looks_for_devices_on_any_machine() -> None:
    answer = process.call({"task": "devices"}, timeout=60)
    assert answer["devices"] or answer["reason"]


def test_a_task_that_does_not_exist_is_an_error_of_the_child() -> None:
    with pytest.raises(process.WorkerError, match="no such task"):
        process.call({"task": "nothing"}, timeout=60)
