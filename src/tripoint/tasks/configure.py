"""Inputs of a build: options, plugins, profiles. Imported in the child process only.

Whether this TensorRT has an option is asked of it: the member must exist, must give back what was
set, and, where only a build shows it, one layer must build with it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tripoint.errors import ExternalStepError, InputError, UsageError
from tripoint.graph import passthrough
from tripoint.model import sha256
from tripoint.spec import ENDS
from tripoint.trt import messages, native, tf32

_FLAGS = {
    "version_compatible": "VERSION_COMPATIBLE",
    "refit": "REFIT",
    "strip_weights": "STRIP_PLAN",
}
"""``BuilderFlag`` by option."""


@dataclass
class Configured:
    """Objects that options are set on.

    Args:
        trt: The TensorRT module.
        logger: From :func:`~tripoint.trt.native.make_logger`.
        builder: ``Builder``.
        config: ``IBuilderConfig``.
    """

    trt: Any
    logger: Any
    builder: Any
    config: Any

    def refusal(self, option: str, why: str, hint: str | None = None) -> UsageError:
        """The error of an option that this TensorRT does not have or take."""
        return UsageError(f"{option}: {native.spell(self.trt)} {why}", hint=hint)


def load_plugins(trt: Any, logger: Any, paths: list[str]) -> list[dict[str, str]]:
    """Load plugin libraries, which runs their code.

    Args:
        trt: The TensorRT module.
        logger: That of a ``Builder``; tells why a library was not taken.
        paths: Absolute paths, in the order in which to load them.

    Returns:
        ``file`` (name) and ``sha256`` of each.

    Raises:
        UsageError: If this TensorRT takes no plugins.
        InputError: If a library cannot be loaded or brings no plugin.
    """
    if not paths:
        return []
    if not hasattr(trt, "get_plugin_registry"):
        raise UsageError(f"--plugin: {native.spell(trt)} has no plugin registry")
    registry = trt.get_plugin_registry()
    return [_load_plugin(trt, logger, registry, Path(path)) for path in paths]


def _load_plugin(trt: Any, logger: Any, registry: Any, path: Path) -> dict[str, str]:
    loaded = hasattr(registry, "load_library") and registry.load_library(str(path)) is not None
    if not loaded and not _registers_itself(registry, path):
        raise InputError(
            f"{native.spell(trt)} cannot load plugins from {path.name}: "
            f"{messages.plain(logger.last_error)}",
            hint="--plugin takes a library that was built against this TensorRT",
        )
    return {"file": path.name, "sha256": sha256(path)}


def _registers_itself(registry: Any, path: Path) -> bool:
    """Return whether loading an older library, one without an entry point, registers plugins."""
    before = _creators(registry)
    try:
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return _creators(registry) > before


def _creators(registry: Any) -> int:
    creators = getattr(registry, "all_creators", None) or getattr(
        registry, "plugin_creator_list", []
    )
    return len(creators or [])


def apply(configured: Configured, request: Mapping[str, Any]) -> dict[str, Any]:
    """Set the options of a request.

    Args:
        configured: What to set them on.
        request: ``tf32`` and the values of :meth:`tripoint.engine.options.BuildOptions.request`.

    Returns:
        The flags as TensorRT gives them back.

    Raises:
        UsageError: If this TensorRT lacks an option that was asked for, or takes another value.
    """
    for name, size in request["pools"].items():
        _set_pool(configured, name, size)
    trt, config = configured.trt, configured.config
    change = config.set_flag if request["tf32"] else config.clear_flag
    change(trt.BuilderFlag.TF32)
    return {
        "tf32": bool(config.get_flag(trt.BuilderFlag.TF32)) and not tf32.is_off(),
        "memory_pools": {name: _pool(configured, name) for name in request["pools"]},
        "optimization_level": _set_level(configured, request["optimization_level"]),
        "hardware_compatibility": _set_compatibility(configured, request["hardware_compatibility"]),
        **{option: _set_flag(configured, option, request[option]) for option in _FLAGS},
    }


def add_profile(parsed: native.Parsed, config: Any, entries: Mapping[str, Any]) -> None:
    """Add an optimization profile, unless the network needs none.

    Args:
        parsed: The network.
        config: ``IBuilderConfig``.
        entries: By input name ``min``, ``opt``, ``max``, and whether these are ``values`` of a
            shape tensor; those of inputs that need none are left out.

    Raises:
        UsageError: If a dynamic input has no shapes, or a shape tensor no values.
        ExternalStepError: If TensorRT refuses it.
    """
    network = parsed.network
    profile = parsed.builder.create_optimization_profile()
    needed = False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = native.tensor_shape(tensor) or []
        axes = [axis for axis, size in enumerate(shape) if size == -1]
        if not axes and not tensor.is_shape_tensor:
            continue
        needed = True
        _set_range(profile, tensor, axes, passthrough.entry(tensor.name, entries))
    if needed and config.add_optimization_profile(profile) < 0:
        raise ExternalStepError("TensorRT refuses the optimization profile")


def _set_range(profile: Any, tensor: Any, axes: list[int], entry: Mapping[str, Any] | None) -> None:
    if tensor.is_shape_tensor and not (entry and entry.get("values")):
        raise UsageError(
            f"input {tensor.name!r} is a shape tensor: its values decide sizes, so the profile "
            "needs its values",
            hint="`tripoint profile MODEL` names such inputs and asks for their values",
        )
    if entry is None:
        raise UsageError(
            f"input {tensor.name!r} has a dynamic axis {axes[0]} without a range",
            hint="give its range with --dim or --input",
        )
    change = profile.set_shape_input if entry.get("values") else profile.set_shape
    try:
        change(tensor.name, *(tuple(entry[end]) for end in ENDS))
    except (RuntimeError, ValueError) as error:
        raise ExternalStepError(
            f"TensorRT refuses the ranges of input {tensor.name!r}: {error}"
        ) from error


def serialize(configured: Configured, network: Any) -> Any:
    """Build an engine, and serialize it.

    Raises:
        ExternalStepError: If the builder fails.
    """
    plan = configured.builder.build_serialized_network(network, configured.config)
    if plan is None:
        why = messages.plain(configured.logger.last_error)
        raise ExternalStepError(f"{native.spell(configured.trt)} could not build an engine: {why}")
    return plan


def _set_pool(configured: Configured, name: str, size: int) -> None:
    option = f"--pool {name}"
    pools = configured.trt.MemoryPoolType
    if not hasattr(pools, name.upper()):
        raise configured.refusal(option, "has no such memory pool", f"it has {_members(pools)}")
    try:
        configured.config.set_memory_pool_limit(getattr(pools, name.upper()), size)
    except (RuntimeError, ValueError, TypeError) as error:
        raise configured.refusal(option, f"refuses {size} bytes: {error}") from error
    if _pool(configured, name) != size:
        raise configured.refusal(
            option, f"refuses {size} bytes: {messages.plain(configured.logger.last_error)}"
        )


def _pool(configured: Configured, name: str) -> int:
    return int(
        configured.config.get_memory_pool_limit(
            getattr(configured.trt.MemoryPoolType, name.upper())
        )
    )


def _set_level(configured: Configured, level: int | None) -> int | None:
    config = configured.config
    if not hasattr(config, "builder_optimization_level"):
        if level is not None:
            raise configured.refusal("--optimization-level", "has no optimization levels")
        return None
    if level is not None:
        config.builder_optimization_level = level
    taken = int(config.builder_optimization_level)
    if level not in (None, taken):
        raise configured.refusal(f"--optimization-level {level}", f"makes it {taken}")
    return taken


def _set_compatibility(configured: Configured, level: str | None) -> str | None:
    if level is None:
        return None
    option = f"--hardware-compatibility {level}"
    levels = getattr(configured.trt, "HardwareCompatibilityLevel", None)
    if levels is None or not hasattr(configured.config, "hardware_compatibility_level"):
        raise configured.refusal(option, "has no hardware compatibility levels")
    if not hasattr(levels, level.upper()):
        raise configured.refusal(option, "has no such level", f"it has {_members(levels)}")
    wanted = getattr(levels, level.upper())
    configured.config.hardware_compatibility_level = wanted
    if configured.config.hardware_compatibility_level != wanted:
        raise configured.refusal(
            option, "names that level but does not take it", "--compute-capability chooses the GPUs"
        )
    return level


def _set_flag(configured: Configured, option: str, wanted: bool) -> bool:
    spelled = "--" + option.replace("_", "-")
    flag = getattr(configured.trt.BuilderFlag, _FLAGS[option], None)
    if flag is None:
        if wanted:
            raise configured.refusal(spelled, "has no such builder flag")
        return False
    if wanted:
        configured.config.set_flag(flag)
        if not configured.config.get_flag(flag):
            raise configured.refusal(spelled, "names that builder flag but does not take it")
        _try(configured, spelled, lambda config: config.set_flag(flag))
    return bool(configured.config.get_flag(flag))


def _try(configured: Configured, option: str, set_option: Callable[[Any], None]) -> None:
    """Build one layer with an option; what a TensorRT cannot do here shows only then."""
    import numpy as np

    trt = configured.trt
    network = configured.builder.create_network(native.network_flags(trt))
    ones = np.ones((1, 1, 8, 8), np.float32)
    added = network.add_elementwise(
        network.add_input("x", trt.float32, ones.shape),
        network.add_constant(ones.shape, trt.Weights(ones)).get_output(0),
        trt.ElementWiseOperation.SUM,
    )
    network.mark_output(added.get_output(0))
    config = configured.builder.create_builder_config()
    set_option(config)
    if configured.builder.build_serialized_network(network, config) is None:
        why = configured.logger.last_error
        message = messages.of(why)
        raise configured.refusal(
            option,
            f"cannot build a single layer with it here: {messages.plain(why)}"
            + (f"; what it means: {message.meaning}" if message else ""),
            message.hint if message else None,
        )


def _members(enumeration: Any) -> str:
    names = getattr(enumeration, "__members__", None) or [
        name for name in dir(enumeration) if name.isupper()
    ]
    return ", ".join(sorted(name.lower() for name in names))
