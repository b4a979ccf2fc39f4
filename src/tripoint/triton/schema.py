"""Triton's model configuration as protobuf messages, from the package ``tritonclient``.

Triton reads ``config.pbtxt`` as the protobuf message ``inference.ModelConfig``. The module that
``protoc`` generated of it is loaded by its file: it needs protobuf alone, where the package around
it needs gRPC.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

from tripoint.errors import MissingDependencyError


def new_config() -> Any:
    """Return an empty ``inference.ModelConfig``.

    Raises:
        MissingDependencyError: If ``tritonclient`` is not installed.
    """
    return messages().ModelConfig()


def data_types() -> frozenset[str]:
    """Return the names that ``data_type`` may have."""
    return frozenset(messages().DataType.keys()) - {"TYPE_INVALID"}


def data_type_name(number: int) -> str:
    """Return the name of a data type; its number if it has none."""
    types = messages().DataType
    return types.Name(number) if number in types.values() else str(number)


def kind_cpu() -> int:
    """Return the number of the kind of instance group that runs on the CPU."""
    number: int = messages().ModelInstanceGroup.KIND_CPU
    return number


@functools.cache
def messages() -> Any:
    """Return the generated module.

    Raises:
        MissingDependencyError: If ``tritonclient`` is not installed.
    """
    package = importlib.util.find_spec("tritonclient")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        path = Path(folder) / "grpc" / "model_config_pb2.py"
        spec = importlib.util.spec_from_file_location("tritonclient_model_config_pb2", path)
        if path.is_file() and spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise MissingDependencyError(
        "Triton's model configuration is read with tritonclient, which is not installed",
        hint="pip install 'tripoint[triton]'",
    )
