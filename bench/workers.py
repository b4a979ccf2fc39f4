"""Processes side by side, each on its own share of the processors."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def pool(jobs: int) -> ProcessPoolExecutor:
    """A pool of new processes.

    Libraries that take as many threads as there are processors would otherwise hold each other up.

    Args:
        jobs: How many at a time.
    """
    context = multiprocessing.get_context("spawn")
    shares = context.Queue()
    for share in split(sorted(os.sched_getaffinity(0)), jobs):
        shares.put(share)
    return ProcessPoolExecutor(jobs, context, _settle, (shares,))


def split(processors: Sequence[int], jobs: int) -> list[list[int]]:
    """The processors in equal shares, at least one for each job; some are shared if they are few.

    Args:
        processors: Their numbers.
        jobs: How many shares.
    """
    each = max(1, len(processors) // jobs)
    return [
        [processors[(job * each + index) % len(processors)] for index in range(each)]
        for job in range(jobs)
    ]


def _settle(shares: Any) -> None:
    os.sched_setaffinity(0, shares.get())
