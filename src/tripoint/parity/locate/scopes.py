"""Tensors by module: outputs of modules, told from the scopes that an export recorded."""

from __future__ import annotations

import ast
import contextlib
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from tripoint.parity.locate.graph import Graph

if TYPE_CHECKING:
    import torch
    from torch import nn

NAME_SCOPES = "pkg.torch.onnx.name_scopes"


def places(graph: Graph, module: nn.Module) -> dict[str, str]:
    """Module path by name of the tensor that is the output of that module.

    A tensor is taken for the output of a module if it is the only one made inside its scope
    that is read outside.
    """
    scoped: dict[str, list[ir.Node]] = {}
    for node in graph.nodes:
        path = scope_of(node, module)
        # A module has all nodes of those that it calls.
        while path:
            scoped.setdefault(path, []).append(node)
            path = path.rpartition(".")[0]
    comparable = set(graph.comparable)
    paths: dict[str, str] = {}
    for path, nodes in scoped.items():
        leaving = [value for value in graph.leaving(nodes) if value.name in comparable]
        if len(leaving) == 1:
            # Of modules with the same output the innermost is told first.
            paths.setdefault(leaving[0].name or "", path)
    return paths


def vanished(graph: Graph, module: nn.Module) -> frozenset[str]:
    """Modules without parts that left no node, such as a normalization folded into a weight."""
    seen = {scope_of(node, module) for node in graph.nodes}
    return frozenset(
        path
        for path, part in module.named_modules()
        if path and path not in seen and not any(part.children())
    )


def scope_of(node: ir.Node, module: nn.Module) -> str:
    """Path of the module that a node came from, "" if that is the outermost or not known."""
    recorded = node.metadata_props.get(NAME_SCOPES)
    if recorded:
        try:
            names = ast.literal_eval(recorded)
        except (ValueError, SyntaxError):
            return ""
        scopes = [name for name in names[:-1] if isinstance(name, str)]
        return scopes[-1] if scopes and _submodule(module, scopes[-1]) is not None else ""
    name = node.name or ""
    return _path(name.split("/")[1:-1], module) if name.startswith("/") else ""


def _path(segments: list[str], module: nn.Module) -> str:
    """The path of a TorchScript scope, in which a list's entry repeats the name of the list."""
    path, before = "", ""
    for segment in segments:
        own = segment.removeprefix(f"{before}.") if before else segment
        candidate = f"{path}.{own}" if path else own
        if _submodule(module, candidate) is None:
            break
        path, before = candidate, segment
    return path


def _submodule(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None


@contextlib.contextmanager
def watched(
    module: nn.Module,
    wanted: Mapping[str, str],
    gone: Collection[str],
    keep: Callable[[str, torch.Tensor | None], None],
) -> Iterator[None]:
    """Keep outputs of modules that are called once while the block runs the whole.

    Args:
        module: The whole.
        wanted: Module path by the name under which its output is kept.
        gone: Modules that left no node: their output takes the place of their input.
        keep: Takes a name and the tensor; a later one takes the place of an earlier one, and None
            that of one whose module was called again.
    """
    import torch

    by_path: dict[str, list[str]] = {}
    for name, path in wanted.items():
        by_path.setdefault(path, []).append(name)
    tracked: list[tuple[weakref.ref[torch.Tensor], list[str]]] = []
    calls: Counter[str] = Counter()

    def watch(path: str) -> Callable[[Any, tuple[Any, ...], Any], None]:
        def hook(_: Any, arguments: tuple[Any, ...], output: Any) -> None:
            calls[path] += 1
            names = by_path.get(path, [])
            if path in gone and arguments and _same_shape(arguments[0], output):
                names = next(
                    (earlier for ref, earlier in tracked[::-1] if ref() is arguments[0]), names
                )
            if calls[path] > 1 or not isinstance(output, torch.Tensor):
                for name in names:
                    keep(name, None)
                return
            for name in names:
                keep(name, output)
            if names:
                tracked.append((weakref.ref(output), names))

        return hook

    once = Counter(id(part) for _, part in module.named_modules(remove_duplicate=False))
    handles = [
        part.register_forward_hook(watch(path))
        for path, part in module.named_modules()
        if (path in by_path or path in gone) and once[id(part)] == 1
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _same_shape(a: Any, b: Any) -> bool:
    return getattr(a, "shape", None) == getattr(b, "shape", ())
