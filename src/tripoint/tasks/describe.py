"""Task "describe": the layers of a model's network, as the parser made them."""

from __future__ import annotations

from typing import Any

from tripoint.tasks import layers
from tripoint.trt import bindings, native
from tripoint.trt.protocol import Emit


def run(request: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Parse a model and describe its layers.

    Args:
        request: ``tensorrt`` (module name) and ``model`` (absolute path).
        emit: Takes the log lines.

    Returns:
        ``complete``, ``version``, ``errors`` and, of a complete network, ``layers`` as
        :func:`tripoint.tasks.layers.describe` gives them.
    """
    trt = bindings.load(request["tensorrt"])
    emit({"event": "loaded", "version": trt.__version__, "at": "reading the model"})
    parsed = native.parse(trt, native.make_logger(trt, emit), request["model"])
    emit({"event": "parsed", "at": "reading the parsed network"})
    return {
        "complete": parsed.complete,
        "version": trt.__version__,
        "errors": parsed.errors,
        "layers": list(layers.describe(parsed.network)) if parsed.complete else [],
    }
