"""The pytest plugin: the fixture ``assert_equivalent``; see :mod:`tripoint.testing`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tripoint import testing

if TYPE_CHECKING:
    from tripoint.parity.results import Verification


@pytest.fixture
def assert_equivalent() -> Callable[..., Verification]:
    """Fail unless a PyTorch module, its ONNX file and its TensorRT engine compute the same.

    A failing case is not saved unless ``save_failing`` says where.
    """
    return testing.assert_equivalent
