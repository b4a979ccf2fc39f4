"""For test suites: one assertion over PyTorch, ONNX Runtime and TensorRT.

With tripoint installed, pytest has a fixture of the same name::

    def test_export(assert_equivalent, tmp_path):
        assert_equivalent(Net(), tmp_path / "net.onnx", dims={"N": (1, 8)})
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from tripoint.api import ModelLike
    from tripoint.parity.results import Verification
    from tripoint.sources.python import TorchModel

Bounds = int | tuple[int, int] | tuple[int, int, int]


def assert_equivalent(
    module: nn.Module | TorchModel | str | None,
    onnx: ModelLike,
    engine: str | os.PathLike[str] | None = None,
    *,
    dims: Mapping[str, Bounds] | None = None,
    inputs: str | os.PathLike[str] | Sequence[Mapping[str, Any]] | None = None,
    allow_unproven: bool = False,
    **options: Any,
) -> Verification:
    """Fail unless everything that is given computes the same.

    Args:
        module: The PyTorch module, ``file.py:name``, or None to compare without it.
        onnx: The ONNX model.
        engine: The plan, or None to compare without it.
        dims: Sizes of every dynamic dim: one size, (min, max) or (min, opt, max).
        inputs: Inputs in place of generated ones, as :func:`tripoint.verify` takes them.
        allow_unproven: Whether it is no failure that a leg that is given cannot run here, such as
            an engine on a machine without a GPU, or that agreement of an output proves nothing.
        options: Further arguments of :func:`tripoint.verify`.

    Returns:
        What was found.

    Raises:
        AssertionError: If legs differ, if one that is given did not run, or if agreement of an
            output proves nothing (``vacuous``, ``covered``); the message is the report of
            ``tripoint verify``.
        TripointError: If there is nothing to compare, or an argument is wrong.
    """
    __tracebackhide__ = True
    from tripoint.api.comparing import verify
    from tripoint.errors import UsageError
    from tripoint.parity.results import PYTORCH, TENSORRT
    from tripoint.report.verification import verification
    from tripoint.spec import Spec

    if module is None and engine is None and options.get("fixed") is None:
        raise UsageError("there is nothing to compare the ONNX model with")
    result = verify(
        onnx,
        torch=_torch(module),
        engine=engine,
        spec=Spec(dims={symbol: _range(bounds) for symbol, bounds in (dims or {}).items()}),
        inputs=inputs,
        **options,
    )
    left_out = {
        name for name, argument in ((PYTORCH, module), (TENSORRT, engine)) if argument is None
    }
    missing = [leg for leg in result.legs if leg.status != "ran" and leg.name not in left_out]
    empty = any(not entry.equal for point in result.points for entry in point.outputs)
    if result.verdict == "different" or ((missing or empty) and not allow_unproven):
        raise AssertionError("\n".join(["not equivalent", *verification(result)]))
    return result


def _torch(module: Any) -> Any:
    from tripoint.sources.python import TorchModel

    return (
        module if module is None or isinstance(module, (str, TorchModel)) else TorchModel.of(module)
    )


def _range(bounds: Bounds) -> Any:
    from tripoint.spec import Range

    if isinstance(bounds, int):
        return Range(bounds, bounds, bounds)
    if len(bounds) == 2:
        return Range(bounds[0], bounds[1], bounds[1])
    return Range(*bounds)
