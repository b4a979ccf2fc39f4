"""What some tests need."""

from __future__ import annotations

import pytest

from tripoint.trt import bindings

RTX = "tensorrt_rtx_bindings"

needs_tensorrt = pytest.mark.skipif(
    not bindings.available(), reason="TensorRT is not installed: pip install 'tripoint[rtx]'"
)
needs_rtx = pytest.mark.skipif(
    not any(binding.name == RTX for binding in bindings.available()),
    reason="TensorRT is not installed: pip install 'tripoint[rtx]'",
)
installed = pytest.param("installed", marks=needs_tensorrt)
"""The target ``"installed"``, where it is."""
