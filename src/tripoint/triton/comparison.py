"""Compares one input or output of a configuration with that of its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tripoint.triton import config as configs
from tripoint.triton import schema
from tripoint.triton.findings import Notes
from tripoint.triton.interface import Interface, Tensor
from tripoint.triton.text import Parsed


class Comparison:
    """One input or output of the configuration beside that of the model."""

    def __init__(
        self,
        parsed: Parsed,
        interface: Interface,
        used: Sequence[int],
        notes: Notes,
        which: str,
        index: int,
        field: Any,
    ) -> None:
        self.parsed, self.interface, self.used, self.notes = parsed, interface, used, notes
        self.which, self.index, self.field = which, index, field
        self.called = f"{which} {field.name!r}"
        self.batched = parsed.config.max_batch_size > 0
        self.sizes = list(field.reshape.shape if field.HasField("reshape") else field.dims)

    def error(self, name: str, message: str, write: str | None, place: str) -> None:
        """Note a mistake at a field of this input or output."""
        line = self.parsed.line(self.which, self.index, place)
        self.notes.error(name, message, write, line=line)

    def check(self, tensor: Tensor) -> None:
        """Compare data type, shape tensor and dims."""
        self.check_type(tensor)
        if tensor.shape_tensor != self.field.is_shape_tensor and self.is_plan:
            is_one = "is" if tensor.shape_tensor else "is not"
            self.error(
                "shape-tensor",
                f"{self.called} {is_one} a shape tensor in {self.interface.source}",
                "is_shape_tensor: true" if tensor.shape_tensor else "no is_shape_tensor",
                "is_shape_tensor",
            )
        if not self.field.dims:
            return
        if tensor.shape is None:
            self.notes.skip(f"dims of {self.called}", f"{self.interface.source} has no shape")
        elif self.which == "input" and self.field.allow_ragged_batch:
            self.notes.skip(f"dims of {self.called}", "it is ragged")
        elif not tensor.shape:
            self.check_scalar()
        elif tensor.shape_tensor:
            self.check_shape_tensor(tensor.shape)
        else:
            self.check_dims(tensor, tensor.shape)

    @property
    def is_plan(self) -> bool:
        """Return whether the model is a plan."""
        return self.interface.backend == "tensorrt"

    def check_type(self, tensor: Tensor) -> None:
        """Compare data types."""
        dtype = schema.data_type_name(self.field.data_type)
        if tensor.dtype is None:
            self.notes.skip(f"data_type of {self.called}", f"{self.interface.source} has none")
        elif self.field.data_type and tensor.data_type != dtype:
            self.error(
                "data-type",
                f"{self.called} is {dtype}; in {self.interface.source} it is {tensor.dtype}",
                f"data_type: {tensor.data_type}" if tensor.data_type else None,
                "data_type",
            )

    def check_scalar(self) -> None:
        """A tensor without axes."""
        if self.batched:
            self.no_batch("has no axes")
        elif self.is_plan:
            self.error(
                "scalar",
                f"{self.called} has no axes, and Triton serves no such tensor of a plan",
                "let the model give it one axis, such as with unsqueeze(0), and build again",
                "dims",
            )
        elif any(size != 1 for size in self.sizes):
            self.error("dims", f"{self.called} has no axes", "dims: [1]", "dims")

    def check_shape_tensor(self, shape: Sequence[int]) -> None:
        """The first value of a shape tensor is the batch, which dims does not count."""
        expected = [shape[0] - 1 if self.batched else shape[0]]
        if self.sizes != expected:
            self.error(
                "dims",
                f"{self.called} is a shape tensor of {shape[0]} values, of which dims counts "
                f"{expected[0]} with max_batch_size {self.parsed.config.max_batch_size}",
                f"dims: {expected}",
                "dims",
            )

    def no_batch(self, what: str, write: str = "") -> None:
        """A tensor without the batches that max_batch_size promises."""
        size = self.parsed.config.max_batch_size
        self.error(
            "batch-axis",
            f"{self.called} {what} in {self.interface.source}; max_batch_size is {size}",
            f"{write}max_batch_size: 0 and dims with every axis, or a batch axis that varies",
            "dims",
        )

    def check_batch(self, fixed: int) -> None:
        """A first axis that is fixed: of a plan, Triton takes batches of exactly that size."""
        size = self.parsed.config.max_batch_size
        if not self.is_plan or fixed != size:
            exact = f"max_batch_size: {fixed}, or " if self.is_plan else ""
            self.no_batch(f"is always {fixed} along axis 0", exact)
        elif fixed > 1:
            self.notes.warning(
                "batch-axis",
                f"{self.called} is always {fixed} along axis 0 in {self.interface.source}, so "
                "smaller batches fail",
                "build with a varying batch axis",
                line=self.parsed.line(self.which, self.index, "dims"),
            )

    def check_dims(self, tensor: Tensor, shape: Sequence[int]) -> None:
        """A tensor with axes."""
        if self.batched and shape[0] != -1:
            self.check_batch(shape[0])
        expected = configs.dims(tensor, self.interface, self.parsed.config.max_batch_size)
        compared = shape[1:] if self.batched else shape
        if len(self.sizes) != len(compared):
            self.wrong_rank(shape, expected)
            return
        first = 1 if self.batched else 0
        for axis, (configured, size) in enumerate(
            zip(self.sizes, compared, strict=True), start=first
        ):
            self.check_axis(axis, configured, size, expected)

    def wrong_rank(self, shape: Sequence[int], expected: Sequence[int]) -> None:
        """Dims with one axis too many or too few, most often the batch."""
        size = self.parsed.config.max_batch_size
        write = _dims(expected, batched=self.batched)
        if self.batched and len(self.sizes) == len(shape):
            why = f"max_batch_size {size} stands for axis 0, and dims counts it a second time"
        elif not self.batched and len(self.sizes) == len(shape) - 1:
            why = "with max_batch_size 0 dims counts every axis, and one lacks"
            if shape[0] == -1:
                write += "; or a max_batch_size above 0"
        else:
            why = (
                f"it has {len(expected)} axes besides the batch"
                if self.batched
                else (f"it has {len(expected)} axes")
            )
        self.error(
            "dims",
            f"{self.called} has dims {self.sizes}; {self.shown(shape)}: {why}",
            write,
            "dims",
        )

    def check_axis(self, axis: int, configured: int, size: int, expected: Sequence[int]) -> None:
        """Compare one axis."""
        name, write = self.called, _dims(expected, batched=self.batched)
        source = self.interface.source
        if size != -1 and configured != size:
            if configured != -1:
                self.error(
                    "dims",
                    f"{name} has {configured} along axis {axis}; in {source} it is {size}",
                    write,
                    "dims",
                )
            elif self.is_plan:
                line = self.parsed.line(self.which, self.index, "dims")
                self.notes.warning(
                    "dims",
                    f"{name} varies along axis {axis}; in {source} it is always {size}, and "
                    "requests of another size fail",
                    write,
                    line=line,
                )
            else:
                self.error(
                    "dims",
                    f"{name} is -1 along axis {axis}; in {source} it is {size}, "
                    "and Triton wants the same",
                    write,
                    "dims",
                )
        elif size == -1 and configured != -1:
            self.check_fixed(axis, configured, write)

    def check_fixed(self, axis: int, configured: int, write: str) -> None:
        """A size where the model varies."""
        name, source = self.called, self.interface.source
        if self.which == "output" and not self.is_plan:
            self.error(
                "dims",
                f"{name} has {configured} along axis {axis}; ONNX Runtime sees a varying "
                "size, and Triton wants -1 there",
                write,
                "dims",
            )
        elif self.which == "output":
            self.notes.skip(
                f"axis {axis} of {name}",
                f"it is {configured} in the configuration and varies in {source}",
            )
        for number in self.used if self.which == "input" else ():
            entry = self.interface.profiles[number].get(self.field.name)
            if entry is not None and not entry.min[axis] <= configured <= entry.max[axis]:
                self.error(
                    "dims",
                    f"{name} has {configured} along axis {axis}; profile {number} takes "
                    f"{entry.min[axis]} to {entry.max[axis]}",
                    write,
                    "dims",
                )

    def shown(self, shape: Sequence[int]) -> str:
        """The shape of the model."""
        return f"{self.interface.source} has {list(shape)}"


def _dims(expected: Sequence[int], *, batched: bool) -> str:
    if not expected and batched:
        return "dims: [1] and reshape { shape: [] }"
    return f"dims: {list(expected)}"
