"""All that is said about the inputs of a model, read from the options of a command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tripoint.errors import UsageError
from tripoint.spec.types import InputSpec, Range, parse_dim


@dataclass(frozen=True, slots=True)
class Spec:
    """All that was said about the inputs: shapes by input and ranges by symbol."""

    inputs: tuple[InputSpec, ...] = ()
    dims: Mapping[str, Range] = field(default_factory=dict)

    @classmethod
    def parse(cls, inputs: Iterable[str] = (), dims: Iterable[str] = ()) -> Spec:
        """Read ``--input`` and ``--dim`` values.

        Args:
            inputs: Texts such as ``"x:1x3x224x224"``.
            dims: Texts such as ``"N=1..8..32"``.

        Raises:
            UsageError: If a text cannot be read, or a name is given twice.
        """
        entries: list[InputSpec] = []
        for text in inputs:
            from tripoint.spec import dialects

            entries += dialects.read(text)
        return cls(_once(entries), _dims_once(dims))

    @classmethod
    def several(
        cls,
        inputs: Iterable[str] = (),
        dims: Iterable[str] = (),
        profiles: Sequence[str] = (),
        min_shapes: Sequence[str] = (),
        opt_shapes: Sequence[str] = (),
        max_shapes: Sequence[str] = (),
    ) -> tuple[Spec, ...]:
        """Read the options of a command that takes several profiles.

        What ``inputs`` and ``dims`` say holds for every profile that does not say otherwise.
        Shapes in trtexec's spelling give one profile for each time that they are repeated, as
        with Polygraphy.

        Args:
            inputs: As :meth:`parse`.
            dims: As :meth:`parse`.
            profiles: Texts such as ``"N=1..8..32 x:Nx3x224x224"``, one for each profile; or
                trtexec's numbers, one for each repetition of the shapes.
            min_shapes: Texts such as ``"x:1x3x224x224,y:1x8"``: trtexec's ``--minShapes``.
            opt_shapes: The same of ``--optShapes``.
            max_shapes: The same of ``--maxShapes``. Of two that are given the third is: min the
                smaller, opt and max the larger one. One alone gives all three.

        Returns:
            One for each profile, one at least.

        Raises:
            UsageError: If a text cannot be read, a name is given twice, or the options do not go
                together.
        """
        from tripoint.spec import dialects

        base = cls.parse(inputs, dims)
        shapes = dialects.shapes(min_shapes, opt_shapes, max_shapes)
        numbers = [text.strip() for text in profiles if text.strip().isdecimal()]
        if numbers:
            if len(numbers) < len(profiles):
                raise UsageError(
                    "profiles are given as numbers and as texts", hint="write all as N=1..8..32"
                )
            if sorted(map(int, numbers)) != list(range(len(shapes))):
                raise UsageError(
                    f"profile numbers {', '.join(numbers)} with {len(shapes)} sets of shapes",
                    hint="number the sets of --minShapes, --optShapes and --maxShapes from 0",
                )
            order = sorted(range(len(shapes)), key=lambda index: int(numbers[index]))
            shapes = [shapes[index] for index in order]
        elif profiles and shapes:
            raise UsageError(
                "--profile does not go with --minShapes, --optShapes and --maxShapes",
                hint="repeat these for each profile, or write all into --profile",
            )
        written = [cls(_once(entries)) for entries in shapes]
        for text in profiles if not numbers else ():
            own_inputs, own_dims = dialects.parts(text)
            written.append(cls.parse(own_inputs, own_dims))
        return tuple(base.replaced_by(more) for more in written) or (base,)

    def replaced_by(self, other: Spec) -> Spec:
        """Both, where ``other`` counts for the inputs and symbols that both name."""
        names = {spec.name for spec in other.inputs}
        kept = tuple(spec for spec in self.inputs if spec.name not in names)
        return Spec(kept + other.inputs, {**self.dims, **other.dims})

    def resolve_names(self, names: Iterable[str]) -> dict[str, InputSpec]:
        """Attach each written input to one of the model's inputs.

        Args:
            names: The model's input names, in order.

        Returns:
            Spec by input name, for the inputs that were written.

        Raises:
            UsageError: If a name is unknown, or left out where there are several inputs.
        """
        inputs = list(names)
        resolved: dict[str, InputSpec] = {}
        for spec in self.inputs:
            name = spec.name
            if name is None:
                if len(inputs) != 1:
                    raise UsageError(
                        f"the model has {len(inputs)} inputs, so each needs its name",
                        hint=f"its inputs are {', '.join(inputs)}",
                    )
                name = inputs[0]
            if name not in inputs:
                raise UsageError(
                    f"the model has no input named {name!r}",
                    hint=f"its inputs are {', '.join(inputs)}",
                )
            resolved[name] = spec
        return resolved


def _once(inputs: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    names = [spec.name for spec in inputs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"input {name or 'without a name'} is given twice")
    return tuple(inputs)


def _dims_once(dims: Iterable[str]) -> dict[str, Range]:
    parsed: dict[str, Range] = {}
    for text in dims:
        symbol, bounds = parse_dim(text)
        if symbol in parsed:
            raise UsageError(f"dimension {symbol} is given twice")
        parsed[symbol] = bounds
    return parsed
