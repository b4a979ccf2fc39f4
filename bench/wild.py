"""What becomes of ONNX files that other people ship: five commands on each, and every fault.

    python bench/wild.py FOLDER_OR_MODEL ... [--only PATTERN ...] [--timeout SECONDS] [--whole]
                         [--interval SECONDS] [--json FILE] [--markdown FILE]

``shapes``, ``fix``, ``profile``, ``build`` and ``run`` are processes of their own, one after the
other, each with a time limit and with the peak memory of all its child processes. ``build`` and
``run`` get the ranges that ``profile`` proposes, up to their opt; with ``--whole`` up to their max.

With ``--json`` each model is noted as soon as it is done, and one that is noted already is not run
again: a run that was ended goes on where it was.

What counts as a fault:

    crash            a signal, a traceback, "tripoint broke", or no result with exit code 0
    hang             the time limit
    different        ``run`` finds other numbers
    nothing kept     ``fix`` writes nothing, since what it made is not proven
    no reason        a refusal without the name of a node, an operator or a tensor
    no next step     a refusal without a next step
    circle           a refusal whose next step leads to the same refusal

The last is found by following: options of a next step are added to the command, and where it
names ``fix``, what ``fix`` wrote takes the place of the model.

Exit code: 0 no fault; 1 a fault; 2 usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import os
import re
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

import measure
from models import models_of
from tripoint._version import __version__
from tripoint.trt import bindings

COMMANDS = ("shapes", "fix", "profile", "build", "run")

KINDS = ("crash", "hang", "different", "nothing kept", "no reason", "no next step", "circle")

_FORCE = dict.fromkeys(("fix", "build", "run"), ("--force",))
"""Following a next step writes again what the first try has written."""

_BROKEN = ("Traceback (most recent call last)", "tripoint broke", "Segmentation fault")
_NEXT = re.compile(r"(?:^ *|; )next: (.*)$", re.MULTILINE)
_OPTION = re.compile(
    r"--(?:dim|input|minShapes|optShapes|maxShapes)[ =](?:'[^']*\d[^']*'|\S*\d\S*)"
)
"""An option that can be followed as it stands, with sizes: ``--dim NAME=SIZE`` cannot."""

_NAMED = re.compile(r"`[^`]+`|'[^']+'|node_of_|--[a-z]")
_WORD = re.compile(r"[\w./:-]+")
_VERDICT = re.compile(r"^verdict: (\w+)", re.MULTILINE)


@dataclass
class Step:
    """One command on one model.

    Attributes:
        seconds: Wall time.
        mib: Peak memory of the whole process tree.
        code: Exit code, negative for a signal; None if it ran out of time.
        said: What it said at the end, the error with its next step.
    """

    seconds: float
    mib: float
    code: int | None
    said: str = ""


@dataclass
class Row:
    """One model.

    Attributes:
        model: Its file name.
        nodes: Number of nodes before and behind ``fix``; None if it wrote nothing.
        lost: Lost dims before and behind ``fix``; None where the view is missing.
        proof: ``"holds"``, or what the proof of the whole says.
        build: ``"built"``, ``"refused"`` or ``"failed"``, from the model as it is.
        verdict: That of ``run``, ``"-"`` without one.
        refused: What TensorRT refuses of it, as ``shapes`` tells it.
        ranges: What ``build`` and ``run`` were given.
        steps: By command.
        faults: Pairs of kind and sentence.
    """

    model: str
    nodes: list[int | None] = field(default_factory=lambda: [None, None])
    lost: list[int | None] = field(default_factory=lambda: [None, None])
    proof: str = "-"
    build: str = "-"
    verdict: str = "-"
    refused: list[str] = field(default_factory=list)
    ranges: str = ""
    steps: dict[str, Step] = field(default_factory=dict)
    faults: list[list[str]] = field(default_factory=list)


class Trial:
    """The five commands on one model.

    Args:
        path: The model.
        folder: For everything that is written.
        timeout: Seconds for each command.
        interval: Seconds between two readings of the memory.
        whole: Whether ranges go up to their max.
    """

    def __init__(
        self, path: Path, folder: Path, *, timeout: float, interval: float, whole: bool
    ) -> None:
        self.path, self.folder = path.resolve(), folder
        self.timeout, self.interval, self.whole = timeout, interval, whole
        self.row = Row(path.name)
        graph = ir.load(self.path).graph
        self._names = {node.name for node in graph.all_nodes() if node.name}

    def run(self) -> Row:
        """Run all commands."""
        fixed = self.folder / "fixed.onnx"
        self._command("shapes", self.path, *_as_json(self.folder / "shapes.json"))
        self._read_shapes()
        self._command("fix", self.path, "-o", fixed, "-q", *_as_json(self.folder / "fix.json"))
        self._read_fix()
        self._command("profile", self.path, *_as_json(self.folder / "profile.json"))
        options = self._options()
        self.row.ranges = shlex.join(options)
        plan = self.folder / "engine.plan"
        self._command("build", self.path, "-o", plan, "-q", *options)
        self.row.build = self._built(plan)
        self._command("run", self.path, "-o", self.folder / "out", "-q", *options)
        found = _VERDICT.search((self.folder / "run.txt").read_text(errors="replace"))
        if found:
            self.row.verdict = found.group(1)
        if self.row.verdict == "different":
            self._fault("different", "run", found.string[found.start() :] if found else "")
        return self.row

    # One command

    def _command(self, name: str, *arguments: str | Path) -> None:
        step, text = self._start(name, arguments, self.folder / f"{name}.txt")
        self.row.steps[name] = step
        if step.code is None:
            self._fault("hang", name, f"not done after {self.timeout:.0f} s")
        elif step.code < 0 or step.code >= 128 or any(mark in text for mark in _BROKEN):
            self._fault("crash", name, step.said or f"exit code {step.code}")
        elif step.code in (2, 4):
            self._look_at_refusal(name, arguments, text)

    def _start(self, name: str, arguments: Sequence[str | Path], log: Path) -> tuple[Step, str]:
        report = self.folder / "out" / "report.json"
        report.unlink(missing_ok=True)
        made = measure.run(
            [sys.executable, "-m", "tripoint", name, *map(str, arguments), *_FORCE.get(name, ())],
            folder=self.folder,
            environment={**os.environ, "NO_COLOR": "1"},
            log=log,
            timeout=self.timeout,
            watch=True,
            interval=self.interval,
        )
        text = log.read_text(errors="replace")
        if name == "run" and report.exists():
            # What is said of the engine stands in the middle of a long text.
            text = str(json.loads(report.read_text())["build"].get("not_built") or "")
        step = Step(round(made.seconds, 1), round(made.peak_kib / 1024), made.code, _said(text))
        return step, text

    def _look_at_refusal(self, name: str, arguments: Sequence[str | Path], text: str) -> None:
        said = _said(text)
        if not _NAMED.search(said) and not self._names & set(_WORD.findall(said)):
            self._fault("no reason", name, said)
        following = _NEXT.search(text)
        if following is None:
            self._fault("no next step", name, said)
            return
        again = list(arguments)
        for option in _OPTION.findall(following.group(1)):
            again.extend(shlex.split(option))
        fixed = self.folder / "fixed.onnx"
        if f"tripoint {name}" in following.group(1):
            self._fault("circle", name, said)
        elif "tripoint fix" in following.group(1):
            if not fixed.exists():
                self._fault("circle", name, f"{said} (fix wrote nothing)")
                return
            again[0] = fixed
        if again == list(arguments):
            return  # the next step is not a command that can be followed here
        _, second = self._start(name, again, self.folder / f"{name}.again.txt")
        if _said(second).replace(str(fixed), str(self.path)) == said:
            self._fault("circle", name, said)

    def _fault(self, kind: str, name: str, sentence: str) -> None:
        self.row.faults.append([kind, f"{name}: {sentence}"])

    # What it wrote

    def _read_shapes(self) -> None:
        document = self._document("shapes")
        if document is not None:
            self.row.refused = [
                f"{r['op']} {r['node']}: {r['reason']}" for r in document["refusals"]
            ]

    def _read_fix(self) -> None:
        document = self._document("fix")
        if document is None:
            return
        before, after = document["before"], document["after"]
        self.row.nodes = [before["nodes"], after["nodes"]]
        self.row.lost = [before["lost_dims"], after["lost_dims"]]
        proof = document["proof"]
        self.row.proof = "nothing to do" if proof is None else _proof(proof)
        if document["output"] is None:
            self.row.nodes[1] = None
            self._fault("nothing kept", "fix", _proof(proof) if proof else "no proof")

    def _options(self) -> list[str]:
        document = self._document("profile")
        if document is None or not document["profile"]:
            return []  # every size is fixed
        profile, found = document["profile"][0], []
        for dim in profile["dims"]:
            top = dim["max" if self.whole else "opt"]
            found += ["--dim", f"{dim['symbol']}={dim['min']}..{dim['opt']}..{top}"]
        for entry in profile["inputs"]:
            if entry["values"]:
                ends = [entry["min"], entry["opt"], entry["max" if self.whole else "opt"]]
                values = "..".join(str(end).replace(" ", "") for end in ends)
                found += ["--input", f"{_quoted(entry['name'])}={values}"]
        return found

    def _document(self, name: str) -> dict[str, Any] | None:
        """What a command wrote; that it wrote nothing is a fault, unless it is noted already."""
        path = self.folder / f"{name}.json"
        if path.exists():
            content: dict[str, Any] = json.loads(path.read_text())
            return content
        if self.row.steps[name].code in (0, 1):
            self._fault("crash", name, "it wrote no result")
        return None

    def _built(self, plan: Path) -> str:
        step = self.row.steps["build"]
        if step.code == 0 and plan.exists() and plan.stat().st_size:
            return "built"
        if step.code == 0:
            self._fault("crash", "build", "it wrote no engine")
        return "refused" if step.code == 2 or self.row.refused else "failed"


def _as_json(path: Path) -> list[str | Path]:
    return ["--format", "json", "--output-file", path]


def _quoted(name: str) -> str:
    return f"'{name}'" if re.search(r"[\s,:=]", name) else name


def _said(text: str) -> str:
    """The error that a command ended with, in one line, its next step included."""
    start = max(text.rfind("\ntripoint "), 0 if text.startswith("tripoint ") else -1)
    if start < 0:
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""
    return " ".join(text[start:].split())


def _proof(proof: dict[str, Any]) -> str:
    numeric = proof["numeric"]
    points = f" at {len(numeric['points'])} points" if numeric["points"] else ""
    if proof["symbolic"] == numeric["status"] == "holds":
        return f"holds{points}"
    return f"shapes {proof['symbolic']}, numbers {numeric['status']}{points}: " + (
        proof["reason"] or numeric["reason"]
    )


# What is printed


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The rows in Markdown."""
    titles = [
        "model",
        "nodes",
        "lost dims",
        "proof",
        "build",
        "verdict",
        *COMMANDS,
        "MiB",
        "faults",
    ]
    yield f"| {' | '.join(titles)} |"
    yield "|" + "---|" * len(titles)
    for row in rows:
        yield f"| {' | '.join(_cells(row))} |"


def _cells(row: Row) -> list[str]:
    seconds = [_seconds(row.steps.get(name)) for name in COMMANDS]
    peak = max((step.mib for step in row.steps.values()), default=0)
    kinds = Counter(kind for kind, _ in row.faults)
    faults = ", ".join(f"{kind} {n}" if n > 1 else kind for kind, n in kinds.items())
    proof = row.proof if len(row.proof) <= 40 else row.proof.partition(":")[0]
    cells = [_pair(row.nodes), _pair(row.lost), proof, row.build, row.verdict, *seconds]
    return [row.model.removesuffix(".onnx"), *cells, f"{peak:.0f}", faults]


def _seconds(step: Step | None) -> str:
    if step is None:
        return ""
    code = "" if step.code == 0 else " (time)" if step.code is None else f" ({step.code})"
    return f"{step.seconds:.0f}{code}"


def _pair(numbers: Sequence[int | None]) -> str:
    first, second = ("?" if number is None else str(number) for number in numbers)
    return first if first == second else f"{first} → {second}"


def summary(rows: Sequence[Row], binding: object) -> Iterator[str]:
    """How many came through, and the faults by kind."""
    verdicts = Counter(row.verdict for row in rows)
    lost = [sum(row.lost[end] or 0 for row in rows) for end in (0, 1)]
    seconds = sum(step.seconds for row in rows for step in row.steps.values())
    peak = max((step.mib for row in rows for step in row.steps.values()), default=0)
    yield (
        f"{len(rows)} models, {binding}: {sum(row.build == 'built' for row in rows)} build as they "
        f"are; lost dims {lost[0]} → {lost[1]}; verdicts: "
        + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        + f"; {seconds:.0f} s, at most {peak:.0f} MiB."
    )
    kinds = Counter(kind for row in rows for kind, _ in row.faults)
    yield ""
    yield "Faults: " + (", ".join(f"{n} {kind}" for kind, n in kinds.most_common()) or "none") + "."
    for kind in KINDS:
        if kinds[kind]:
            yield ""
            yield f"**{kind}**"
            yield ""
            for row in rows:
                for found, sentence in row.faults:
                    if found == kind:
                        yield f"- {row.model}: {sentence}"
    yield ""
    yield "Not built, and what was said:"
    yield ""
    for row in rows:
        if row.build != "built":
            yield f"- {row.model}: {row.steps['build'].said}"


def _noted(path: Path | None) -> dict[str, Row]:
    if path is None or not path.exists():
        return {}
    rows = [Row(**entry) for entry in json.loads(path.read_text())["models"]]
    for row in rows:
        row.steps = {name: Step(**step) for name, step in row.steps.items()}  # type: ignore[arg-type]
    return {row.model: row for row in rows}


def _note(path: Path | None, rows: Sequence[Row], binding: object) -> None:
    if path is not None:
        models = [dataclasses.asdict(row) for row in rows]
        document = {"tripoint": __version__, "tensorrt": str(binding), "models": models}
        path.write_text(json.dumps(document, indent=2) + "\n")


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="names to run, as silero*")
    parser.add_argument("--timeout", type=float, default=600.0)
    parser.add_argument("--interval", type=float, default=0.1, help="between readings of memory")
    parser.add_argument("--whole", action="store_true", help="ranges up to their max")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    paths = [
        path
        for path in models_of(arguments.models)
        if not arguments.only or any(fnmatch.fnmatch(path.name, p) for p in arguments.only)
    ]
    if not paths:
        parser.error("there is no such model")
    binding = bindings.find(None)
    noted, rows = _noted(arguments.json), []
    for path in paths:
        row = noted.get(path.name)
        if row is None:
            print(f"{path.name} ...", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="tripoint-bench-") as name:
                trial = Trial(
                    path,
                    Path(name),
                    timeout=arguments.timeout,
                    interval=arguments.interval,
                    whole=arguments.whole,
                )
                row = trial.run()
        rows.append(row)
        noted[path.name] = row
        _note(arguments.json, list(noted.values()), binding)
    lines = [*table(rows), "", *summary(rows, binding)]
    print("\n".join(lines))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")
    return int(any(row.faults for row in rows))


if __name__ == "__main__":
    sys.exit(main())
