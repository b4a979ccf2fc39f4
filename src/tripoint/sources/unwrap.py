"""The module inside of what PyTorch puts around one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def unwrap(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Take off what says how a module is run, not what it computes.

    That are ``torch.compile``, ``DataParallel``, ``DistributedDataParallel`` and
    ``AveragedModel``, around the module and around those inside of it.

    Args:
        module: The module; those inside of it are replaced in place.

    Returns:
        The module, and a note for each kind of wrapper that was taken off.
    """
    import torch

    taken: dict[str, None] = {}
    module = _inside(module, taken)
    if isinstance(module, torch.jit.ScriptModule):
        return module, _notes(taken)
    for each in list(module.modules()):
        if getattr(each, "_compiled_call_impl", None) is not None:
            taken["torch.compile"] = None
            each._compiled_call_impl = None
        if isinstance(each, torch.jit.ScriptModule):
            continue
        for name, child in list(each.named_children()):
            inner = _inside(child, taken)
            if inner is not child:
                each.register_module(name, inner)
    return module, _notes(taken)


def _inside(module: nn.Module, taken: dict[str, None]) -> nn.Module:
    from torch.nn import parallel
    from torch.optim.swa_utils import AveragedModel

    wrappers = (parallel.DataParallel, parallel.DistributedDataParallel, AveragedModel)
    while True:
        compiled = type(module).__name__ == "OptimizedModule" and hasattr(module, "_orig_mod")
        if not compiled and not isinstance(module, wrappers):
            return module
        taken["torch.compile" if compiled else type(module).__name__] = None
        module = module.get_submodule("_orig_mod" if compiled else "module")


def _notes(taken: dict[str, None]) -> tuple[str, ...]:
    return tuple(f"{name} is taken off: the module inside is used" for name in taken)
