"""Results of an engine come one after the other, and no two are held at a time."""

from __future__ import annotations

import gc
import tempfile
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.fake_machine import Cuda, Plan, Port, TensorRT
from tripoint.errors import ExternalStepError, InputError
from tripoint.parity.legs.tensorrt import TensorRTLeg
from tripoint.runner.core import Session
from tripoint.tasks import execute
from tripoint.trt import bindings, gpu, process
from tripoint.trt import cuda as cuda_task
from tripoint.trt import execute as runner
from tripoint.trt.bindings import Binding

Array = np.ndarray[Any, Any]
POINTS = [{"x": np.full((count, 3), count, np.float32)} for count in (1, 4, 8, 2)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made; the child runs in this process, on a made-up device."""
    device = Cuda()
    plan = Plan(
        [Port("x", (-1, 3), profiles=[((1, 3), (4, 3), (8, 3))])],
        [Port("y", (-1, 3))],
        lambda shapes, _: {"y": shapes["x"]},
        lambda fed: {"y": 2 * fed["x"]},
    )
    monkeypatch.setattr(gpu, "absence", lambda: None)
    monkeypatch.setattr(bindings, "find", lambda _=None: Binding("tensorrt_rtx", "1.0", "rtx"))
    monkeypatch.setattr(bindings, "load", lambda _: TensorRT(device, plan))
    monkeypatch.setattr(cuda_task, "runtime", lambda: device)
    monkeypatch.setattr(process, "call", lambda request, **_: execute.run(request, lambda _: None))
    (tmp_path / "model.plan").write_bytes(b"plan")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary


def each(folder: Path, points: Any = POINTS) -> Generator[dict[str, Array], None, None]:
    return runner.execute_each(folder.parent / "model.plan", points)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.npz"))


def test_all_results_at_once_and_one_by_one_are_the_same(folder: Path) -> None:
    found = runner.execute(folder.parent / "model.plan", POINTS)
    for outputs, again, point in zip(found, each(folder), POINTS, strict=True):
        np.testing.assert_array_equal(outputs["y"], 2 * point["x"])
        np.testing.assert_array_equal(again["y"], outputs["y"])
    assert list(folder.iterdir()) == []


def test_points_may_be_made_while_they_are_taken(folder: Path) -> None:
    alive: list[weakref.ref[Array]] = []

    def made() -> Iterator[dict[str, Array]]:
        for count in (1, 2, 3):
            assert all(ref() is None for ref in alive[:-1])
            array = np.full((count, 3), count, np.float32)
            alive.append(weakref.ref(array))
            yield {"x": array}

    assert [len(outputs["y"]) for outputs in each(folder, made())] == [1, 2, 3]


def test_a_file_is_gone_once_it_was_read(folder: Path) -> None:
    left = [f"out{index}.npz" for index in range(len(POINTS))]
    assert files(folder) == []
    for _ in each(folder):
        left.pop(0)
        assert files(folder) == left
    assert left == []


def test_a_result_is_held_by_nobody_but_the_caller(folder: Path) -> None:
    results = each(folder)
    found = next(results)
    alive = weakref.ref(found["y"])
    del found
    assert alive() is None
    results.close()


def test_the_folder_goes_when_the_iterator_is_closed(folder: Path) -> None:
    results = each(folder)
    next(results)
    assert len(list(folder.iterdir())) == 1
    results.close()
    assert list(folder.iterdir()) == []


def test_the_folder_goes_when_the_iterator_is_forgotten(folder: Path) -> None:
    results = each(folder)
    next(results)
    assert len(list(folder.iterdir())) == 1
    del results
    gc.collect()
    assert list(folder.iterdir()) == []


def test_the_folder_goes_if_the_caller_fails(folder: Path) -> None:
    def consume() -> None:
        for outputs in each(folder):
            raise ValueError(str(outputs["y"].shape))

    with pytest.raises(ValueError, match="1, 3"):
        consume()
    gc.collect()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"z": POINTS[0]["x"]}, "'x' of the engine was not given"),
        ({"x": np.zeros((9, 3), np.float32)}, "takes 1 to 8"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_first_result(
    folder: Path, point: dict[str, Array], message: str
) -> None:
    results = each(folder, [POINTS[0], point])
    with pytest.raises(InputError, match=message):
        next(results)
    assert list(folder.iterdir()) == []


def test_without_a_gpu_nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "absence", lambda: "there is none")
    with pytest.raises(ExternalStepError, match="there is none"):
        next(each(folder))
    with pytest.raises(InputError, match="no such file"):
        next(runner.execute_each(folder / "missing.plan", POINTS))
    assert list(folder.iterdir()) == []


def test_the_child_holds_one_point_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[weakref.ref[Array]] = []
    made: list[weakref.ref[Array]] = []
    run = Session.run

    def watched(self: Session, inputs: dict[str, Array]) -> dict[str, Array]:
        assert all(ref() is None for ref in made)
        # A session keeps what its last run was fed with, since copies may still be under way.
        assert all(ref() is None for ref in fed[:-1])
        fed.append(weakref.ref(inputs["x"]))
        outputs = run(self, inputs)
        made.append(weakref.ref(outputs["y"]))
        return outputs

    monkeypatch.setattr(Session, "run", watched)
    next(each(folder))
    assert len(made) == len(POINTS)


def test_the_leg_gives_what_the_engine_computes_point_by_point(folder: Path) -> None:
    leg = TensorRTLeg(folder.parent / "model.plan")
    results = leg.run_many(iter(POINTS))
    for index, point in enumerate(POINTS):
        found = next(results)
        assert files(folder) == [f"out{number}.npz" for number in range(index + 1, len(POINTS))]
        np.testing.assert_array_equal(found["y"], 2 * point["x"])
        alive = weakref.ref(found["y"])
        del found
        assert alive() is None
    assert next(results, None) is None
    assert list(folder.iterdir()) == []
    np.testing.assert_array_equal(leg.run(POINTS[1])["y"], 2 * POINTS[1]["x"])
    gc.collect()
    assert list(folder.iterdir()) == []
