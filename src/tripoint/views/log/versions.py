"""Version of the TensorRT that wrote a log: told by its banner, else by the form of its lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tripoint.views.log import grammar

if TYPE_CHECKING:
    from tripoint.views.log.lines import Line

LADDER = ("7.0", "7.1", "7.2", "8.0", "8.2", "8.4", "8.5", "8.6", "9.0", "9.1", "10")
"""Versions whose logs can be told apart; ``"10"`` stands for all later ones."""

_LAST = LADDER[-1]

FINGERPRINTS: Mapping[tuple[str, str], Mapping[int, tuple[str, ...]]] = {
    ("ModelImporter.cpp", "node"): {103: ("7.1", "7.2"), 107: ("7.0", "7.1", "7.2")},
    ("ModelImporter.cpp", "search"): {119: ("7.1", "7.2"), 123: ("7.0", "7.1", "7.2")},
    ("ModelImporter.cpp", "inputs"): {125: ("7.1", "7.2"), 129: ("7.0", "7.1", "7.2")},
    ("ModelImporter.cpp", "outputs"): {
        179: ("7.1", "7.2"),
        180: ("7.0",),
        181: ("7.0",),
        183: ("7.1", "7.2"),
    },
    ("ModelImporter.cpp", "mark"): {
        494: ("7.0",),
        507: ("7.1",),
        513: ("7.0",),
        535: ("7.1",),
        538: ("7.2",),
    },
    ("ModelImporter.cpp", "input"): {204: ("7.0",), 206: ("7.1", "7.2")},
    ("ImporterContext.hpp", "tensor"): {
        97: ("7.0",),
        107: ("7.0",),
        116: ("7.1",),
        120: ("7.2",),
    },
    ("ImporterContext.hpp", "layer"): {
        122: ("7.0",),
        132: ("7.0",),
        141: ("7.1",),
        150: ("7.2",),
        154: ("7.2",),
    },
    ("onnx2trt_utils.cpp", "unsqueeze"): {
        1411: ("7.0",),
        1679: ("7.0",),
        1793: ("7.1",),
        1815: ("7.2",),
    },
    ("onnx2trt_utils.cpp", "squeeze"): {1641: ("7.1",), 1663: ("7.2",)},
}
"""Versions by source line, by file and kind of line (binaries that were seen, and the tags)."""

_NEW_TYPES = {
    "UINT8": "8.5",
    "INT64": "9.0",
    "FP8": "9.0",
    "BF16": "9.0",
    "INT4": "10",
}
_CAST = ("INT64 -> INT32", "DOUBLE -> FLOAT")
_NUMBERED = re.compile(r"\[TensorRT v(\d{4,6})\]|\[TRT_v(\d{4,6})\]|trtexec v(\d{4,6})")
_DOTTED = re.compile(
    r"TensorRT[ -][Vv]ersion:? +v?(\d{1,2}\.\d{1,2}(?:\.\d{1,4}){0,2})"
    r"|Module: tensorrt +\| Version: (\d{1,2}\.\d{1,2}(?:\.\d{1,4}){0,2})"
)
_RTX = re.compile(r"TensorRT-RTX|tensorrt_rtx")
_INT64_LINES = {
    **dict.fromkeys((362, 363, 364), "8.0"),
    **dict.fromkeys((372, 373, 374), "8.6"),
}
_MOST_SENTENCES = 4


@dataclass
class Evidence:
    """Evidence of the version in the lines of one model.

    Args:
        banner: A version that the program printed, for instance ``"8.2.3"``.
        latest: The one that was printed last; further models of the log are of that one.
        rtx: Whether TensorRT for RTX names itself.
        seen: Forms that occurred, by name.
        marks: How often each source line printed each kind of line.
    """

    banner: str | None = None
    latest: str | None = None
    rtx: bool = False
    seen: Counter[str] = field(default_factory=Counter)
    marks: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    def of_program(self) -> Evidence:
        """Return the evidence that holds for further models of the same log."""
        return Evidence(self.latest, self.latest, self.rtx)

    def add(self, line: Line) -> None:
        """Note what one line tells."""
        if line.event is None:
            self._add_other(line)
            return
        seen = self.seen
        seen["lines"] += 1
        seen[line.logger] += 1
        kind = _kind(line.event)
        if line.file:
            seen["source"] += 1
            self.marks[line.file, kind, line.number] += 1
        match line.event:
            case grammar.NodeStart(name=name, check=check):
                seen["checked" if check else "parsed"] += 1
                seen["unnamed"] += not name
                seen["node_of_"] += name.startswith("node_of_")
            case grammar.Ports(items=items):
                for item in items:
                    if item is not None:
                        seen["typed" if item.dtype else "untyped"] += 1
                        seen["cast"] += item.dtype in _CAST
                        if item.dtype in _NEW_TYPES:
                            seen[item.dtype] += 1
            case grammar.Layer(kind=layer):
                seen[layer] += 1
            case grammar.Reshaped(before=before, after=after):
                for shape in (before, after):
                    seen["(1,)"] += shape.endswith(",)")
                    seen["(1)"] += shape.startswith("(") and shape[1:-1].lstrip("-").isdigit()
            case grammar.Registered(unique=unique, tensor=tensor):
                seen["_0"] += unique == f"{tensor}_0"

    def _add_other(self, line: Line) -> None:
        text = line.text[:400]
        self.latest = _banner(text) or self.latest
        if self.banner is None or not self.seen["lines"]:
            self.banner = self.latest
        self.rtx = self.rtx or _RTX.search(text) is not None
        if "generated with INT64 weights" in text:
            self.seen["int64 warning"] += 1
            if line.file == "onnx2trt_utils.cpp" and line.number in _INT64_LINES:
                self.seen[f"int64 warning {_INT64_LINES[line.number]}"] += 1
        elif text.startswith("Make sure input ") and text.endswith(" has Int64 binding."):
            self.seen["int64 binding"] += 1
        elif "::" in text and "] Error Code " in text:
            self.seen["core error"] += 1
        elif text.startswith("In node ") and " with name: " in text:
            self.seen["named error"] += 1

    def version(self) -> tuple[str, str]:
        """The version or range, and one sentence about how it is known."""
        low, high, sentences = self._bounds()
        versions = _range(LADDER[low], LADDER[high])
        if self.rtx:
            versions, sentences = "RTX", ["the program calls itself TensorRT-RTX", *sentences]
        if self.banner is not None:
            if self.rtx or low <= _rung(self.banner) <= high:
                prefix = "RTX " if self.rtx else ""
                return f"{prefix}{self.banner}", "the program printed its version"
            sentences = [*sentences, f"but the program printed version {self.banner}"]
        return versions, "; ".join(sentences[:_MOST_SENTENCES]) or "the log does not tell"

    def is_before(self, version: str) -> bool:
        """Return whether every version that may have written the log is older than this one."""
        low, high, _ = self._bounds()
        if self.banner is not None and low <= _rung(self.banner) <= high:
            high = _rung(self.banner)
        return not self.rtx and high < LADDER.index(version)

    def _bounds(self) -> tuple[int, int, list[str]]:
        """The first and last version by the form of the lines, and what told them."""
        low, high = 0, len(LADDER) - 1
        sentences: list[str] = []
        for first, last, sentence in self._findings():
            a, b = max(low, LADDER.index(first)), min(high, LADDER.index(last))
            if a > b:
                sentences.append(f"but {sentence} ({_range(first, last)})")
            elif (a, b) != (low, high):
                low, high = a, b
                sentences.append(f"{sentence} ({_range(first, last)})")
        return low, high, sentences

    def _findings(self) -> Iterable[tuple[str, str, str]]:
        """First and last version of each form that was seen; the telling ones come first."""
        seen = self.seen
        if seen["source"]:
            yield "7.0", "7.2", "verbose lines name their source file"
            yield from self._by_marks()
        if seen["typed"]:
            yield "8.0", _LAST, "a type follows each shape"
        elif seen["untyped"]:
            yield "7.0", "7.2", "no type follows the shapes"
        if seen["constant"]:
            yield "7.2", "7.2", "constant layers have lines of their own"
        if seen["checked"]:
            yield "9.1", _LAST, "each node is checked before it is parsed"
        elif seen["parsed"]:
            yield "7.0", "9.0", "nodes are not checked before they are parsed"
        if seen["helper"]:
            yield "10", _LAST, "helper layers are listed"
        if seen["named error"]:
            yield "9.1", _LAST, "errors name the node and its operator"
        if seen["python"]:
            yield "8.2", _LAST, "the Python logger prints [TRT] [V]"
        if seen["python-old"]:
            yield "7.0", "8.0", "the Python logger prints [TensorRT] VERBOSE"
        for rung in ("8.0", "8.6"):
            if seen[f"int64 warning {rung}"]:
                yield rung, rung, "the source line of the INT64 warning"
        if seen["int64 warning"]:
            yield "7.0", "8.6", "INT64 weights are cast to INT32"
        if seen["int64 binding"]:
            yield "9.0", _LAST, "INT64 inputs are bound as such"
        if seen["cast"]:
            yield "8.0", "8.4", "casts of weights are printed in their type"
        for dtype, first in _NEW_TYPES.items():
            if seen[dtype]:
                yield first, _LAST, f"tensors have the type {dtype}"
        if seen["node_of_"]:
            yield "8.0", _LAST, "nodes without a name are called node_of_..."
        if seen["unnamed"]:
            yield "7.0", "7.2", "nodes without a name stay without one"
        if seen["core error"]:
            yield "8.0", _LAST, "errors of the core have a code"
        if seen["(1,)"]:
            yield "7.1", _LAST, "vectors of one element are printed as (n,)"
        elif seen["(1)"]:
            yield "7.0", "7.0", "vectors of one element are printed as (n)"
        if seen["_0"]:
            yield "7.2", _LAST, "a tensor of a taken name is registered with _0"

    def _by_marks(self) -> Iterable[tuple[str, str, str]]:
        possible = set(LADDER)
        decisive: list[str] = []
        ranges = [
            (FINGERPRINTS.get((file, kind), {}).get(number, LADDER), f"{file}:{number}")
            for file, kind, number in self.marks
        ]
        for versions, place in sorted(ranges, key=lambda entry: len(entry[0])):
            if possible & set(versions) and not possible <= set(versions):
                possible &= set(versions)
                decisive.append(place)
        if decisive:
            rungs = [version for version in LADDER if version in possible]
            yield rungs[0], rungs[-1], f"source lines {', '.join(decisive)}"


def _kind(event: grammar.Event) -> str:
    match event:
        case grammar.NodeStart():
            return "node"
        case grammar.Search():
            return "search"
        case grammar.Ports(outputs=outputs):
            return "outputs" if outputs else "inputs"
        case grammar.Marked():
            return "mark"
        case grammar.NetworkInput():
            return "input"
        case grammar.Registered():
            return "tensor"
        case grammar.Layer():
            return "layer"
        case grammar.Reshaped(squeezed=squeezed):
            return "squeeze" if squeezed else "unsqueeze"
    return "other"


def _banner(text: str) -> str | None:
    if match := _NUMBERED.search(text):
        number = int(next(group for group in match.groups() if group))
        # NV_TENSORRT_VERSION: two digits a part from 10 on, major * 1000 + minor * 100 before.
        wide = number >= 100_000
        major, rest = divmod(number, 10_000 if wide else 1000)
        return f"{major}.{rest // 100}.{rest % 100}"
    if match := _DOTTED.search(text):
        return next(group for group in match.groups() if group)
    return None


def _rung(version: str) -> int:
    """Return the index of a full version's rung on the ladder."""
    major, minor = (int(part) for part in version.split(".")[:2])
    below = [
        index
        for index, rung in enumerate(LADDER)
        if tuple(map(int, (*rung.split("."), "0")[:2])) <= (major, minor)
    ]
    return below[-1] if below else -1


def _range(first: str, last: str) -> str:
    if first == last and first != _LAST:
        return first
    if last == _LAST:
        return "any" if first == LADDER[0] else f"{first} or later"
    return f"{first}-{last}"
