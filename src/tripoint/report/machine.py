"""This machine, as text."""

from __future__ import annotations

from collections.abc import Sequence

from tripoint.api.environment import Environment
from tripoint.report.columns import columns


def doctor(value: Environment) -> list[str]:
    """This machine."""
    rows: list[Sequence[object]] = [
        ("tripoint", value.tripoint),
        ("python", value.python),
        ("platform", value.platform),
        *((name, version or "not installed") for name, version in value.packages.items()),
        ("TensorRT", ", ".join(value.tensorrt) or "not installed"),
        ("GPU", ", ".join(value.gpus) or "none"),
    ]
    legs = [(leg.name, "can run" if leg.ready else "cannot run", leg.reason) for leg in value.legs]
    return [*columns(rows, indent=""), "", *columns(legs, indent="")]
