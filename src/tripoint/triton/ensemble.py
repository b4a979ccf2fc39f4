"""Follows the tensors of an ensemble from step to step.

The conditions are those of Triton's core: ``ValidateEnsembleSchedulingConfig`` and
``BuildEnsembleGraph`` of ``model_config_utils.cc`` for the ensemble alone,
``ValidateEnsembleConfig`` of ``ensemble_utils.cc`` for the models of its steps.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tripoint.triton import schema
from tripoint.triton.findings import Notes
from tripoint.triton.interface import Interface
from tripoint.triton.text import Parsed

_STEPS = "ensemble_scheduling"


@dataclass(frozen=True, slots=True)
class Member:
    """A model of the repository, as an ensemble sees it.

    Args:
        parsed: Its configuration, None if it cannot be read.
        versions: Its versions.
        interface: What its file takes and gives, None if not known.
    """

    parsed: Parsed | None
    versions: Sequence[int] = ()
    interface: Interface | None = None

    @property
    def batch(self) -> int | None:
        """Its ``max_batch_size``; None where there is no configuration that says so."""
        return self.parsed.config.max_batch_size if self.parsed is not None else None

    def tensors(self, which: str) -> dict[str, _Tensor] | None:
        """Its inputs or outputs by name; None if they are not known."""
        listed = getattr(self.parsed.config, which) if self.parsed is not None else ()
        by_name: dict[str, _Tensor] = {}
        if self.interface is not None:
            tensors = self.interface.inputs if which == "input" else self.interface.outputs
            by_name = {each.name: _Tensor(each.data_type, None, 0) for each in tensors}
        by_name |= {each.name: _written(each, self.batch or 0) for each in listed}
        return by_name or None


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An input or output of a model.

    Args:
        dtype: Triton's name of its data type, None if not known.
        dims: Its dims, None if they are not known.
        batch: ``max_batch_size`` of its model.
        optional: Whether no step has to give it.
    """

    dtype: str | None
    dims: tuple[int, ...] | None
    batch: int
    optional: bool = False

    @property
    def full(self) -> tuple[int, ...] | None:
        """The dims with the batch."""
        return self.dims if self.dims is None or not self.batch else (-1, *self.dims)


def _written(each: Any, batch: int) -> _Tensor:
    dtype = schema.data_type_name(each.data_type) if each.data_type else None
    # An empty list is left to be completed by the backend.
    dims = tuple(each.dims) or None
    return _Tensor(dtype, dims, batch, getattr(each, "optional", False))


@dataclass
class _Flow:
    """The tensors of an ensemble.

    Args:
        produced: Step that produces a tensor, by its name.
        consumed: Steps that consume it.
        described: What a tensor is and who says so, the first that says it.
    """

    produced: dict[str, int] = field(default_factory=dict)
    consumed: dict[str, list[int]] = field(default_factory=dict)
    described: dict[str, tuple[str, _Tensor]] = field(default_factory=dict)


def check(
    parsed: Parsed, name: str, members: Mapping[str, Member], notes: Notes
) -> tuple[str, ...]:
    """Note where the steps of an ensemble do not fit each other or their models.

    Args:
        parsed: Configuration of the ensemble.
        name: Its name.
        members: The models of the repository by name, itself included.
        notes: Takes what is found.

    Returns:
        The models of its steps that it was compared with.
    """
    _Ensemble(parsed, name, members, notes).check()
    steps = (step.model_name for step in parsed.config.ensemble_scheduling.step)
    return tuple(dict.fromkeys(step for step in steps if step in members))


class _Ensemble:
    def __init__(
        self, parsed: Parsed, name: str, members: Mapping[str, Member], notes: Notes
    ) -> None:
        self.parsed, self.config, self.name = parsed, parsed.config, name
        self.members, self.notes = members, notes
        self.steps = list(parsed.config.ensemble_scheduling.step)
        self.flow = _Flow()

    def error(self, message: str, write: str | None = None, *place: str | int) -> None:
        """Note a mistake, by default at the steps."""
        line = self.parsed.line(*(place or (_STEPS, 0, "step")))
        self.notes.error("ensemble", message, write, line=line)

    def check(self) -> None:
        """All of it."""
        self.check_fields()
        batch = self.config.max_batch_size
        for which in ("input", "output"):
            for each in getattr(self.config, which):
                self.flow.described[each.name] = f"the ensemble's {which}", _written(each, batch)
        for index, step in enumerate(self.steps):
            self.check_step(index, step)
        self.check_flow()
        self.check_circle()

    def check_fields(self) -> None:
        """Check the fields that an ensemble must have, and those that it must not."""
        if not self.steps:
            self.error("an ensemble needs steps", "step [ { model_name: ... } ]", _STEPS)
        for which in ("instance_group", "optimization", "model_warmup"):
            if (which,) in self.parsed.lines:
                self.error(
                    f"an ensemble takes no {which}", f"{which} in the models of its steps", which
                )
        for which in ("input", "output"):
            if not getattr(self.config, which):
                self.error(
                    f"an ensemble needs its {which}s listed: there is no model file to know them by"
                )

    def check_step(self, index: int, step: Any) -> None:
        """Compare one step with its model."""
        place = (_STEPS, 0, "step", index)
        called = f"step {index}"
        for key in ("model_name", "input_map", "output_map"):
            if not getattr(step, key):
                self.error(f"{called} has no {key}", None, *place)
        for tensor in step.output_map.values():
            if tensor in self.flow.produced:
                self.error(
                    f"{tensor!r} is produced by step {self.flow.produced[tensor]} and by {called}",
                    "another name in one of the output_maps",
                    *place, "output_map",
                )  # fmt: skip
            self.flow.produced.setdefault(tensor, index)
        for tensor in step.input_map.values():
            self.flow.consumed.setdefault(tensor, []).append(index)
        member = self.members.get(step.model_name)
        if member is None:
            if step.model_name:
                self.error(
                    f"{called} needs the model {step.model_name!r}, which is not in the repository",
                    _close(step.model_name, self.members),
                    *place, "model_name",
                )  # fmt: skip
            return
        self.check_member(index, step, member)

    def check_member(self, index: int, step: Any, member: Member) -> None:
        """Version, batches and tensors of a step's model."""
        place, model = (_STEPS, 0, "step", index), step.model_name
        if step.model_version > 0 and step.model_version not in member.versions:
            self.error(
                f"step {index} needs version {step.model_version} of {model}, which has "
                f"{', '.join(map(str, member.versions)) or 'none'}",
                "model_version: -1",
                *place, "model_version",
            )  # fmt: skip
        own, least = self.config.max_batch_size, member.batch or 0
        # A model that does not batch may be a step, where the shapes with the batch fit.
        if 0 < least < own:
            self.error(
                f"max_batch_size {own} is more than the {least} of {model} in step {index}",
                f"max_batch_size: {least}, or more in {model}",
                "max_batch_size",
            )
        for which, mapped in (("input", step.input_map), ("output", step.output_map)):
            tensors = member.tensors(which)
            if tensors is None:
                self.notes.skip(
                    f"the {which}s of step {index}", f"those of {model} are not known here"
                )
                continue
            where = (*place, f"{which}_map")
            for key, tensor in mapped.items():
                if key in tensors:
                    self.compare(tensor, f"{which} {key!r} of {model}", tensors[key], where)
                else:
                    has = ", ".join(map(repr, tensors)) or "none"
                    self.error(
                        f"{model} in step {index} has no {which} {key!r} (it has {has})",
                        _close(key, tensors),
                        *where,
                    )
            for key, tensor in tensors.items():
                if which == "input" and key not in mapped and not tensor.optional:
                    self.error(
                        f"step {index} gives {model} no input {key!r}",
                        f'input_map {{ key: "{key}" value: ... }}',
                        *where,
                    )

    def compare(self, name: str, who: str, tensor: _Tensor, where: Sequence[str | int]) -> None:
        """A tensor as one model has it beside what is known of it."""
        before = self.flow.described.setdefault(name, (who, tensor))
        other, first = before
        if first.dtype and tensor.dtype and first.dtype != tensor.dtype:
            self.error(
                f"{name!r} is {first.dtype} as {other}, and {tensor.dtype} as {who}", None, *where
            )
        if first.dims is None or tensor.dims is None:
            self.notes.skip(f"dims of {name!r}", f"they are not written for {other} or {who}")
        elif not _fit(first.dims, tensor.dims) and not _fit(first.full, tensor.full):
            self.error(
                f"{name!r} is {list(first.dims)}{_batched(first)} as {other}, and "
                f"{list(tensor.dims)}{_batched(tensor)} as {who}",
                None,
                *where,
            )

    def check_flow(self) -> None:
        """Check that each tensor is produced and consumed, and that each output can be computed."""
        inputs = [each.name for each in self.config.input]
        outputs = [each.name for each in self.config.output]
        for index, name in enumerate(inputs):
            if name not in self.flow.consumed:
                self.error(f"no step consumes the ensemble's input {name!r}", None, "input", index)
            if name in self.flow.produced:
                self.error(
                    f"step {self.flow.produced[name]} makes {name!r}, an input of the ensemble",
                    None,
                    "input",
                    index,
                )
        for index, name in enumerate(outputs):
            if name not in self.flow.produced and name not in inputs:
                self.error(
                    f"no step produces the ensemble's output {name!r}",
                    _close(name, self.flow.produced),
                    "output",
                    index,
                )
        for name, steps in self.flow.consumed.items():
            if name not in self.flow.produced and name not in inputs:
                self.error(
                    f"step {steps[0]} reads {name!r}, which no step and no input gives",
                    _close(name, [*inputs, *self.flow.produced]),
                    _STEPS, 0, "step", steps[0], "input_map",
                )  # fmt: skip
        for name, step in self.flow.produced.items():
            if name not in self.flow.consumed and name not in outputs:
                self.error(
                    f"nothing reads {name!r}, which step {step} makes",
                    "the tensor left out of output_map, or as an output of the ensemble",
                    _STEPS, 0, "step", step, "output_map",
                )  # fmt: skip
        self.check_order(inputs)

    def check_order(self, inputs: Iterable[str]) -> None:
        """Report steps that wait for each other."""
        ready = {*inputs, *(name for name in self.flow.consumed if name not in self.flow.produced)}
        left = list(range(len(self.steps)))
        while True:
            able = [i for i in left if ready.issuperset(self.steps[i].input_map.values())]
            if not able:
                break
            left = [index for index in left if index not in able]
            ready.update(name for i in able for name in self.steps[i].output_map.values())
        if left:
            waiting = sorted({n for i in left for n in self.steps[i].input_map.values()} - ready)
            steps = " and ".join(f"step {index}" for index in left)
            self.error(
                f"{steps} can never run: {', '.join(map(repr, waiting))} "
                f"{'depends on itself' if len(waiting) == 1 else 'depend on each other'}",
                None,
                *(_STEPS, 0, "step", left[0], "input_map"),
            )

    def check_circle(self) -> None:
        """Report an ensemble that is a step of itself, at whatever depth."""
        path = _circle(self.name, self.name, self.members, ())
        if path is not None:
            self.error(f"the ensemble contains itself: {' -> '.join(path)}")


def _circle(
    start: str, name: str, members: Mapping[str, Member], path: tuple[str, ...]
) -> tuple[str, ...] | None:
    if path and name == start:
        return (*path, name)
    member = members.get(name)
    if name in path or member is None or member.parsed is None:
        return None
    for step in member.parsed.config.ensemble_scheduling.step:
        circle = _circle(start, step.model_name, members, (*path, name))
        if circle is not None:
            return circle
    return None


def _fit(own: tuple[int, ...] | None, other: tuple[int, ...] | None) -> bool:
    """Return whether sizes are the same where neither varies (``CompareDimsWithWildcard``)."""
    if own is None or other is None or len(own) != len(other):
        return False
    return all(a == b or -1 in (a, b) for a, b in zip(own, other, strict=True))


def _batched(tensor: _Tensor) -> str:
    return " with a batch" if tensor.batch else ""


def _close(name: str, names: Iterable[str]) -> str | None:
    matches = difflib.get_close_matches(name, list(names), n=1)
    return f'"{matches[0]}"' if matches else None
