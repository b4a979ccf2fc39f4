"""Arguments of ``forward``: where each tensor goes, and what is passed beside tensors."""

from __future__ import annotations

import copy
import dataclasses
import enum
import inspect
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tripoint.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), enum.Enum, slice, range)
_EMPTY = inspect.Parameter.empty
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class _Slot:
    """Place of a tensor in an example."""

    name: str


@dataclass(frozen=True)
class Arguments:
    """The inputs of ``forward``, and how it is called with them.

    A tensor inside an example has a name of its own: ``batch_x`` is the entry ``x`` of the
    dict ``batch``, ``state_0`` the first of the tuple ``state``, ``args_0`` the first of ``*args``.

    Args:
        names: Inputs that a caller may name, in order.
        optional: Those of them that may be left out.
        examples: Example tensor by input name.
        constants: What is given beside tensors, by parameter: it stays as it is.
        parameters: Parameters of ``forward``, in order.
        templates: The example by parameter, tensors in it replaced by their names.
    """

    names: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()
    examples: Mapping[str, Tensor] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)
    parameters: tuple[inspect.Parameter, ...] = ()
    templates: Mapping[str, object] = field(default_factory=dict)

    def bind(self, tensors: Mapping[str, Tensor]) -> tuple[list[object], dict[str, object]]:
        """The positional and the named arguments of one call.

        Args:
            tensors: Tensor by input name.
        """
        args: list[object] = []
        named: dict[str, object] = {}
        variadic = any(
            p.kind is p.VAR_POSITIONAL and p.name in self.templates for p in self.parameters
        )
        for p in self.parameters:
            example = self.templates.get(p.name, _EMPTY)
            if p.name in tensors and (example is _EMPTY or example is None):
                value: object = tensors[p.name]
            else:
                value = _filled(example, tensors)
            by_place = p.kind is p.POSITIONAL_ONLY or (variadic and p.kind not in _NAMED[1:])
            if by_place and value is _EMPTY:
                value = p.default
            if value is _EMPTY:
                continue
            if p.kind is p.VAR_POSITIONAL and isinstance(value, tuple):
                args += value
            elif by_place:
                args.append(value)
            else:
                named[p.name] = value
        return args, named


def read(module: nn.Module, examples: object) -> Arguments:
    """The inputs of a module, by its ``forward`` and its example inputs.

    Args:
        module: The module; one of TorchScript tells its parameters by its schema.
        examples: What one call gets: a tensor, a tuple or list by position, or a dict by
            parameter. Entries are tensors, dicts, tuples, lists and dataclasses of tensors, and
            constants.

    Raises:
        InputError: If the examples do not fit the parameters of ``forward``, or ``forward`` takes
            ``*args`` and there are none.
    """
    parameters = _parameters(module)
    values, parameters = _by_parameter(examples, parameters)
    templates: dict[str, object] = {}
    tensors: dict[str, Tensor] = {}
    names: list[str] = []
    optional: set[str] = set()
    constants: dict[str, object] = {}
    plain = {p.name for p in parameters}
    for p in parameters:
        before = len(tensors)
        if p.name in values:
            templates[p.name] = _template(values[p.name], (p.name,), tensors, plain)
            constants.update(_constants(values[p.name], p.name))
        inside = list(tensors)[before:]
        if inside:
            names += inside
        elif templates.get(p.name) is None and p.kind is not p.VAR_POSITIONAL:
            names.append(p.name)
            if p.default is not _EMPTY or p.name in templates:
                optional.add(p.name)
        elif p.kind is p.VAR_POSITIONAL and p.name not in values:
            raise InputError(
                f"forward takes *{p.name}, so its inputs have no names",
                hint=f"return (module, example_inputs): they are {p.name}_0, {p.name}_1 and so on",
            )
    return Arguments(
        tuple(names), frozenset(optional), tensors, constants, tuple(parameters), templates
    )


def _parameters(module: nn.Module) -> list[inspect.Parameter]:
    import torch

    if not isinstance(module, torch.jit.ScriptModule):
        return list(inspect.signature(module.forward).parameters.values())
    forward: Any = module.forward
    return [
        inspect.Parameter(
            _identifier(argument.name),
            inspect.Parameter.POSITIONAL_ONLY,
            default=argument.default_value if argument.has_default_value() else _EMPTY,
        )
        for argument in forward.schema.arguments[1:]
    ]


def _by_parameter(
    examples: object, parameters: Sequence[inspect.Parameter]
) -> tuple[dict[str, object], list[inspect.Parameter]]:
    """Example by parameter, and the parameters without ``**kwargs``: its names are their own."""
    import torch

    kept = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    takes_more = len(kept) < len(parameters)
    if isinstance(examples, torch.Tensor):
        examples = (examples,)
    if examples is None:
        return {}, kept
    if isinstance(examples, (tuple, list)):
        placed = [p for p in kept if p.kind not in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)]
        values: dict[str, object] = {
            p.name: value for p, value in zip(placed, examples, strict=False)
        }
        rest = tuple(examples[len(placed) :])
        more = next((p for p in kept if p.kind is p.VAR_POSITIONAL), None)
        if more is not None:
            values[more.name] = rest
        elif rest:
            raise InputError(
                f"there are {len(examples)} example inputs, but forward takes {len(placed)}"
            )
        return values, kept
    if not isinstance(examples, Mapping):
        raise InputError(
            f"the example inputs are a {type(examples).__name__}",
            hint="return a tensor, a tuple of tensors or a dict from name to tensor",
        )
    accepted = {p.name for p in kept}
    for name in examples:
        if name in accepted:
            continue
        if not takes_more:
            raise InputError(
                f"there is an example input {name!r}, but forward takes {', '.join(accepted)}"
            )
        kept.append(inspect.Parameter(str(name), inspect.Parameter.KEYWORD_ONLY, default=None))
    return dict(examples), kept


def _template(
    value: object, path: tuple[str, ...], tensors: dict[str, Tensor], plain: set[str]
) -> object:
    """An example whose tensors are replaced by their names, which are added to ``tensors``."""
    import torch

    if isinstance(value, torch.Tensor):
        name = base = _identifier("_".join(path))
        count = 1
        while name in tensors or (len(path) > 1 and name in plain):
            count += 1
            name = f"{base}_{count}"
        tensors[name] = value
        return _Slot(name)
    if isinstance(value, (*_CONSTANTS, torch.dtype, torch.device)):
        return value
    mapped = _mapped(value, lambda key, child: _template(child, (*path, key), tensors, plain))
    if mapped is _EMPTY:
        kind = type(value).__name__
        place = f"example input {path[0]!r}"
        place += f" at {'.'.join(path[1:])}" if path[1:] else ""
        raise InputError(
            f"{place} is a {kind}, not a tensor",
            hint="give tensors, or dicts, tuples, lists or dataclasses of tensors and constants",
        )
    return mapped


def _filled(template: object, tensors: Mapping[str, Tensor]) -> object:
    if isinstance(template, _Slot):
        return tensors[template.name]
    filled = _mapped(template, lambda _, child: _filled(child, tensors))
    return template if filled is _EMPTY else filled


def _constants(value: object, place: str) -> dict[str, object]:
    """Return what is no tensor, by its place; not the default of a parameter that is left out."""
    import torch

    if isinstance(value, torch.Tensor):
        return {}
    constants: dict[str, object] = {}
    mapped = _mapped(
        value, lambda key, child: constants.update(_constants(child, f"{place}.{key}"))
    )
    return {place: value} if mapped is _EMPTY else constants


def _mapped(value: Any, change: Callable[[str, object], object]) -> Any:
    """A container with its entries changed; ``_EMPTY`` if it is none."""
    if isinstance(value, Mapping):
        entries = {key: change(str(key), child) for key, child in value.items()}
        try:
            return type(value)(entries)  # type: ignore[call-arg]
        except TypeError:
            return entries
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        named = [change(key, getattr(value, key)) for key in value._fields]
        kind: Any = type(value)
        return kind(*named)
    if isinstance(value, (tuple, list)):
        children = [change(str(index), child) for index, child in enumerate(value)]
        return children if isinstance(value, list) else tuple(children)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Without its __init__, which may look at what it is given.
        copied = copy.copy(value)
        for each in dataclasses.fields(value):
            object.__setattr__(copied, each.name, change(each.name, getattr(value, each.name)))
        return copied
    return _EMPTY


def _identifier(text: str) -> str:
    """A name that Python takes for a parameter."""
    name = re.sub(r"\W", "_", text)
    return f"{name}_" if keyword.iskeyword(name) or not name.isidentifier() else name
