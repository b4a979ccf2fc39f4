"""The one data model: what is known of each tensor, and what a TensorRT makes of it."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from tripoint.graph.source_lines import Source
from tripoint.symbols import Dim, Shape, symbols_of

ViewShape = tuple[int, ...]
"""A shape as TensorRT prints it: per axis an integer, or -1."""

Role = Literal["execution", "shape", "both"]


def format_shape(shape: tuple[int | str, ...] | None) -> str:
    """A shape as it is printed in sentences: ``(N, 3, 224, 224)``, ``(?)`` if unknown."""
    if shape is None:
        return "(?)"
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


INITIALIZER = "initializer"
"""Stands for the operator of a graph output that no node produces."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whose view a table shows.

    Args:
        name: As it was asked for: ``"installed"``, ``"7.1"``, the path of a log.
        kind: ``"installed"`` (a real parser), ``"importer"`` (a model of one) or ``"log"`` (a
            verbose log that a real parser wrote).
        version: Full version, for instance ``"tensorrt_rtx 1.6.1.120"``; of a log, what its
            format tells, for instance ``"7.1"`` or ``"8.2-8.6"``.
    """

    name: str
    kind: Literal["installed", "importer", "log"]
    version: str

    def __str__(self) -> str:
        if self.kind == "installed":
            return self.version
        return f"TensorRT {self.version} ({'recorded' if self.kind == 'log' else 'modelled'})"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node that this TensorRT would not import, or would import with another meaning.

    Args:
        node: Node name, or the name of its first output where it has none.
        op: Operator type; empty if it is about the whole model.
        reason: One sentence, with the version it is about.
        source: The PyTorch line of the node, if the export recorded it and the target looked.
        next: What to export instead, where that is known.
    """

    node: str
    op: str
    reason: str
    source: str | None = None
    next: str | None = None

    def __str__(self) -> str:
        if not self.op:
            return self.reason
        where = f"{self.op}, {self.source}" if self.source else self.op
        return f"node {self.node!r} ({where}): {self.reason}"


@dataclass(frozen=True, slots=True)
class Bound:
    """Bound of a size that tensor values decide.

    Args:
        symbol: The symbol that stands for the size.
        tensor: The first tensor that has it.
        node: Name of the node that decides it.
        op: Operator type of that node.
        least: Smallest size.
        most: Largest size, an integer or an expression; None if the operator gives none.
    """

    symbol: str
    tensor: str
    node: str
    op: str
    least: int
    most: Dim | None


@dataclass(frozen=True, slots=True)
class Frozen:
    """A constant size of the export's example where an input's size should be followed.

    Args:
        tensor: The tensor that has the constant size: an operand, or the output.
        axis: The axis of that tensor.
        node: Name of the node at which the constant meets the size that it does not follow.
        op: Operator type of that node.
        size: The constant.
        expected: The expression that it would have to follow, for instance ``"S"``.
        reason: One sentence.
    """

    tensor: str
    axis: int
    node: str
    op: str
    size: int
    expected: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Reason that an importer gave a tensor a -1.

    Args:
        text: One sentence.
        via: The input tensors that caused it: a size operand, or an input with a -1.
    """

    text: str
    via: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """View of each tensor by one TensorRT while the network is built.

    Args:
        target: Whose view it is.
        shapes: Shape by tensor name; tensors that it never reached are absent.
        roles: Role by tensor name, where the target can tell.
        reasons: Why a tensor has a -1 that its inputs do not explain, where the target can tell.
        refusals: Nodes that it would refuse or read differently.
        layers: Number of layers of the parsed network, None for a modelled target.
        notes: Sentences about the whole view.
        layers_of: Names of the network's layers by ONNX node, those that the parser added for it
            included; empty for a target that has no network.
    """

    target: Target
    shapes: Mapping[str, ViewShape]
    roles: Mapping[str, Role] = field(default_factory=dict)
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()
    layers: int | None = None
    notes: tuple[str, ...] = ()
    layers_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """All that is known of one tensor.

    Args:
        name: ONNX tensor name.
        op: Operator that produces it, :data:`INITIALIZER` for a constant that is a graph output,
            None for a graph input.
        node: Name of the node that produces it, None where no node does.
        dtype: ONNX element type in lower case, for instance ``"float"``, or None if unknown.
        shape: True shape, None if the rank is unknown.
        tensorrt: TensorRT's view, None where it never reached this tensor.
        role: Execution tensor, shape tensor, or both; None if undecided.
        source: PyTorch file and line, if the export recorded them.
        fixed: Axes whose true size is one integer that is not known. Only logs have them: they
            hold neither attributes nor the values of constants.
        varies: Axes whose true size follows the sizes of the inputs.
        declared: The shape that the file declares, where the true one contradicts it; None
            elsewhere. A dim without a size or a name is ``""``.
    """

    name: str
    op: str | None
    node: str | None
    dtype: str | None
    shape: Shape | None
    tensorrt: ViewShape | None
    role: Role | None
    source: Source | None
    fixed: tuple[int, ...] = ()
    varies: tuple[int, ...] = ()
    declared: Shape | None = None

    @property
    def lost(self) -> tuple[int, ...]:
        """Axes on which TensorRT prints -1 although the true size is an integer.

        None of a tensor of which it makes another one: see :attr:`differs`.
        """
        if self.shape is None or self.tensorrt is None or self.differs:
            return ()
        pairs = enumerate(zip(self.shape, self.tensorrt, strict=True))
        fixed = frozenset(self.fixed)
        return tuple(
            axis
            for axis, (dim, seen) in pairs
            if seen == -1 and (isinstance(dim, int) or axis in fixed)
        )

    @property
    def differs(self) -> bool:
        """Return whether TensorRT prints a size or rank that is not the true one."""
        if self.shape is None or self.tensorrt is None:
            return False
        return contradicts(self.shape, self.tensorrt, self.varies)


def contradicts(true: Shape, seen: ViewShape, varies: Container[int] = ()) -> bool:
    """Return whether a rank, or a size of a shape that TensorRT prints, cannot be the true one.

    Args:
        true: The true shape.
        seen: TensorRT's.
        varies: Axes whose true size follows the sizes of the inputs.
    """
    if len(true) != len(seen):
        return True
    pairs = enumerate(zip(true, seen, strict=True))
    return any(
        size not in (-1, dim) if isinstance(dim, int) else size != -1 and axis in varies
        for axis, (dim, size) in pairs
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One link of a chain: a tensor, the node that produces it, and what happened there."""

    tensor: str
    node: str | None
    op: str | None
    reason: str
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Chain of steps by which one tensor lost dimensions, and its reach.

    Args:
        tensor: The tensor that was asked about.
        origin: The origin that its loss goes back to; None if it lost nothing.
        back: From the tensor back over its origin to what made the size operand opaque.
        reaches: Graph outputs downstream of the origin that lost dimensions through it.
        node: Name of the node that produces the tensor; None for an input.
        refusals: Nodes among those that it is made from, itself first, which the target refuses
            or misreads. Filled in where one tensor is explained.
        frozen: Frozen sizes of the tensor, or at the nodes that it is made from; likewise.
        misread: The first tensor of another shape than the true one, if this one has such a
            shape; then ``back`` leads there, and ``reaches`` has the outputs that follow it.
    """

    tensor: str
    origin: str | None
    back: tuple[Step, ...]
    reaches: tuple[str, ...]
    node: str | None = None
    refusals: tuple[Refusal, ...] = ()
    frozen: tuple[Frozen, ...] = ()
    misread: str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over a table; the names are the keys of the JSON output."""

    tensors: int
    lost_tensors: int
    lost_dims: int
    dynamic_dims: int
    data_dependent_dims: int
    unresolved_dims: int
    differing_tensors: int
    not_seen: int
    origins: tuple[str, ...]


@dataclass(frozen=True)
class TensorTable:
    """The facts of a whole model for one target.

    Args:
        target: Whose view it is.
        inputs: Names of the graph inputs that must be fed, in order.
        outputs: Names of the graph outputs, in order.
        tensors: Every input, every initializer that is an output, and every node output, in
            graph order.
        symbols: The symbols that the graph inputs declare.
        data_dependent: Symbols that stand for sizes decided by tensor values.
        chains: One chain for each origin.
        refusals: Nodes that the target would refuse or read differently.
        layers: Number of layers of the parsed network, None for a modelled target.
        contradictions: Sentences about nodes whose input shapes do not fit together, and tensors
            that are not what the file declares.
        bounds: What is known of the sizes that tensor values decide.
        frozen: Constant sizes of the export's example that do not follow an input.
        notes: Sentences about the whole model: operators without a rule, an opset that is newer
            than the target.
        layers_of: Names of the network's layers by ONNX node; see :class:`View`.
    """

    target: Target
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: tuple[TensorFacts, ...]
    symbols: frozenset[str]
    data_dependent: frozenset[str]
    chains: tuple[Chain, ...]
    refusals: tuple[Refusal, ...]
    layers: int | None
    contradictions: tuple[str, ...]
    bounds: tuple[Bound, ...] = ()
    frozen: tuple[Frozen, ...] = ()
    notes: tuple[str, ...] = ()
    layers_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> Mapping[str, TensorFacts]:
        """The same facts by tensor name."""
        return {facts.name: facts for facts in self.tensors}

    @cached_property
    def origins(self) -> tuple[str, ...]:
        """Tensors at which the loss starts, in graph order."""
        return tuple(chain.tensor for chain in self.chains)

    @cached_property
    def summary(self) -> Summary:
        """Counts over the whole table."""
        from tripoint.symbols import symbols_of

        dynamic = data_dependent = unresolved = 0
        for facts in self.tensors:
            if facts.shape is None:
                unresolved += 1
                continue
            for dim in facts.shape:
                if isinstance(dim, int):
                    continue
                used = symbols_of(dim)
                if used <= self.symbols:
                    dynamic += 1
                elif used & self.data_dependent:
                    data_dependent += 1
                else:
                    unresolved += 1
        lost = [facts for facts in self.tensors if facts.lost]
        return Summary(
            tensors=len(self.tensors),
            lost_tensors=len(lost),
            lost_dims=sum(len(facts.lost) for facts in lost),
            dynamic_dims=dynamic,
            data_dependent_dims=data_dependent,
            unresolved_dims=unresolved,
            differing_tensors=sum(facts.differs for facts in self.tensors),
            not_seen=sum(facts.tensorrt is None for facts in self.tensors),
            origins=self.origins,
        )


def varying(shape: Shape | None, symbols: Collection[str]) -> tuple[int, ...]:
    """Axes whose size follows the sizes of the inputs, so that no one integer is right.

    Args:
        shape: The true shape.
        symbols: The symbols that the inputs declare.
    """
    own = frozenset(symbols)
    return tuple(
        axis
        for axis, dim in enumerate(shape or ())
        if isinstance(dim, str) and symbols_of(dim) and symbols_of(dim) <= own
    )
