"""tripoint beside OnnxSlim, onnxsim and Polygraphy: wall time and peak memory, in one run.

    python bench/peers.py --peers VENV [MODEL ...]

VENV is an environment with ``bench/requirements.txt``; tripoint is the one beside the Python that
runs this. Without MODEL, the ecaresnet26t models of the zoo are measured, with random weights;
where there is no zoo, exports of ``examples/resnet.py``.

Every command is a whole process in an empty folder of its own, which also takes its output. The
tools take turns, so that a machine that gets slower does so for all. In each round each command
runs twice: once untouched for the wall time, once watched for the memory (``measure.py`` says what
that is and how far off it can be). A round that is not counted comes first: it fills the page cache
and compiles Python's byte code, into a temporary folder. Models are copied to a temporary folder
with their weights; nothing is written beside them or into the repository. Linux only.

Exit code: 0 measured, whatever the figures; 1 if a tripoint command failed; 2 usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import fnmatch
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measure
from measure import Run

ROOT = Path(__file__).resolve().parent.parent
ZOO = ROOT.parent / "shared" / "zoo"
OWN = "tripoint"
SMALL_BYTES = 10_000_000
STARTUP_ROUNDS = 10
DISTRIBUTIONS = {
    OWN: ("onnx", "onnx-ir", "onnx-shape-inference", "onnxruntime", "numpy"),
    "peers": ("onnxslim", "onnxsim", "polygraphy", "onnx-graphsurgeon", "onnx", "onnxruntime"),
}
_VERSIONS = """
import json, platform, re
from importlib import metadata
known = {re.sub("[-_.]+", "-", d.name).lower(): d.version for d in metadata.distributions()}
print(json.dumps({"python": platform.python_version(), **known}))
"""
_EXTERNAL = """
import os, sys
from tripoint import model
tensors = model.external_tensors(model.load(sys.argv[1]).ir)
print(*sorted({os.fspath(tensor.location) for tensor in tensors}), sep="\\0", end="")
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """A command to measure.

    Attributes:
        command: The command line; MODEL and OUT stand for the model and the file to write.
        limit: Highest share of the best peer's time and memory that the design allows, if any.
    """

    command: str
    limit: float | None = None

    @property
    def label(self) -> str:
        """The command line without files."""
        return self.command.replace(" -o OUT", "").replace(" MODEL", "").replace(" OUT", "")

    @property
    def is_peer(self) -> bool:
        """Whether this is somebody else's."""
        return not self.command.startswith(OWN)

    def line(self, programs: Path, model: Path | None, output: Path) -> list[str]:
        """The command line to run, its program taken from a folder."""
        program, *rest = self.command.split()
        files = {"MODEL": str(model), "OUT": str(output)}
        return [str(programs / program), *(files.get(word, word) for word in rest)]


# The peers write a model each time, without checking it. The checks that onnxsim and OnnxSlim
# have are off by default; --no-certify keeps onnxsim's off where z3 is installed.
TOOLS = (
    Tool("tripoint shapes MODEL", limit=0.5),
    Tool("tripoint shapes MODEL --target 7.1", limit=0.5),
    Tool("tripoint fix MODEL --no-numeric-proof -o OUT", limit=0.5),
    Tool("tripoint fix MODEL -o OUT"),
    Tool("onnxslim MODEL OUT"),
    Tool("onnxsim MODEL OUT --no-certify"),
    Tool("polygraphy surgeon sanitize MODEL --fold-constants -o OUT"),
)
STARTUP = (Tool("tripoint --version", limit=0.25), Tool("onnxslim --help"))


@dataclass(slots=True)
class Measured:
    """All runs of one tool on one model."""

    tool: Tool
    timed: list[Run] = field(default_factory=list)
    watched: list[Run] = field(default_factory=list)
    wrote: bool = True
    said: str = ""

    @property
    def runs(self) -> list[Run]:
        """The runs for the time and those for the memory."""
        return self.timed + self.watched

    @property
    def failed(self) -> bool:
        """Whether any run failed or left no output."""
        return not self.wrote or any(run.code != 0 for run in self.runs)

    @property
    def result(self) -> str:
        """The exit code, or all of them if they differ, in words."""
        codes = list(dict.fromkeys(run.code for run in self.runs))
        texts = ["timeout" if code is None else f"exit {code}" for code in codes]
        if not self.wrote and codes == [0]:
            texts.append("no output")
        return ("FAILED: " if self.failed else "") + ", ".join(texts)

    @property
    def wall(self) -> tuple[float, float, float]:
        """Least, median and greatest seconds."""
        seconds = [run.seconds for run in self.timed]
        return min(seconds), statistics.median(seconds), max(seconds)

    @property
    def peak(self) -> float:
        """Peak memory of the tree in MiB."""
        return max(run.peak_kib for run in self.watched) / 1024


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured on one model (or, without one, of starting).

    Attributes:
        title: What was measured.
        rows: One for each tool.
        time_limit: What replaces the tools' limit on time, None if nothing does.
        memory_limited: Whether the limit is on memory too.
    """

    title: str
    rows: Sequence[Measured]
    time_limit: float | None = None
    memory_limited: bool = True

    def ratios(self, row: Measured) -> tuple[float | None, float | None]:
        """Median time and peak memory over those of the best peer; None if all peers failed."""
        peers = [other for other in self.rows if other.tool.is_peer and not other.failed]
        if not peers or row.failed:
            return None, None
        return (
            row.wall[1] / min(peer.wall[1] for peer in peers),
            row.peak / min(peer.peak for peer in peers),
        )

    def budget(self, row: Measured) -> str:
        """Whether a row keeps to its budget, and if not, in what."""
        wall, memory = self.ratios(row)
        if row.tool.limit is None or wall is None or memory is None:
            return ""
        over = []
        if wall > (self.time_limit or row.tool.limit):
            over.append("time")
        if self.memory_limited and memory > row.tool.limit:
            over.append("memory")
        return f"over: {', '.join(over)}" if over else "kept"

    def as_json(self) -> dict[str, Any]:
        """The table with every single run."""
        rows = []
        for row in self.rows:
            least, median, greatest = row.wall
            wall, memory = self.ratios(row)
            rows.append(
                {
                    "command": row.tool.command,
                    "wall_seconds": {"min": least, "median": median, "max": greatest},
                    "peak_mib": row.peak,
                    "to_fastest_peer": wall,
                    "to_smallest_peer": memory,
                    "failed": row.failed,
                    "result": row.result,
                    "budget": self.budget(row),
                    "timed": [dataclasses.asdict(run) for run in row.timed],
                    "watched": [dataclasses.asdict(run) for run in row.watched],
                }
            )
        return {"title": self.title, "rows": rows}


class Bench:
    """Runs tools.

    Args:
        peers: Environment of the peers.
        scratch: Folder for everything that is written.
        timeout: Seconds that one run may take.
    """

    def __init__(self, peers: Path, scratch: Path, timeout: float) -> None:
        self.own = Path(sys.executable).parent
        self.peers = peers / "bin"
        self.scratch = scratch
        self.timeout = timeout
        self.environment = {
            **os.environ,
            "NO_COLOR": "1",
            "PYTHONPYCACHEPREFIX": str(scratch / "bytecode"),
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def missing(self) -> list[str]:
        """Programs that are not installed."""
        paths = {self._programs(tool) / tool.command.split()[0] for tool in TOOLS}
        return sorted(str(path) for path in paths if not path.is_file())

    def measure(self, tools: Sequence[Tool], model: Path | None, rounds: int) -> list[Measured]:
        """Run tools in turn, one round to warm up and then the rounds that count."""
        rows = [Measured(tool) for tool in tools]
        for number in range(rounds + 1):
            _say(f"  round {number} of {rounds}" if number else "  warming up")
            for row in rows:
                self._once(row, model, counts=number > 0)
        return rows

    def _once(self, row: Measured, model: Path | None, *, counts: bool) -> None:
        for watch, runs in ((False, row.timed), (True, row.watched)):
            run = self._run(row, model, watch=watch)
            if not counts:
                return
            runs.append(run)

    def _run(self, row: Measured, model: Path | None, *, watch: bool) -> Run:
        # The output goes with the folder at once: what is still unwritten costs the next no time.
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            folder = Path(name)
            output, log = folder / "out.onnx", folder / "log.txt"
            run = measure.run(
                row.tool.line(self._programs(row.tool), model, output),
                folder=folder,
                environment={**self.environment, "TMPDIR": name},
                log=log,
                timeout=self.timeout,
                watch=watch,
            )
            row.wrote = row.wrote and ("OUT" not in row.tool.command or output.is_file())
            if run.code != 0 and not row.said:
                row.said = _last_line(log.read_text(encoding="utf-8", errors="replace"))
        return run

    def _programs(self, tool: Tool) -> Path:
        return self.peers if tool.is_peer else self.own

    def versions(self) -> dict[str, dict[str, str]]:
        """Versions of tripoint and its libraries and of the peers and theirs."""
        found = {}
        for name, programs in ((OWN, self.own), ("peers", self.peers)):
            command = [str(programs / "python"), "-c", _VERSIONS]
            known = json.loads(subprocess.check_output(command, text=True))
            wanted = ("python", OWN, *DISTRIBUTIONS[name])
            found[name] = {key: known[key] for key in wanted if key in known}
            if name == OWN:
                found[name] |= {
                    key: version
                    for key, version in known.items()
                    if key.startswith("tensorrt") and key.count("-") <= 3
                }
        return found


def given(paths: Sequence[Path], scratch: Path) -> Iterator[Path]:
    """Copies of models with their external data, one at a time."""
    for path in paths:
        command = [sys.executable, "-c", _EXTERNAL, str(path)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode != 0:
            raise SystemExit(f"peers.py: {path}: {_last_line(found.stderr)}")
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            copy = Path(folder) / path.name
            shutil.copyfile(path, copy)
            for location in filter(None, found.stdout.split("\0")):
                (copy.parent / location).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path.parent / location, copy.parent / location)
            yield copy


def from_zoo(zoo: Path, pattern: str, scratch: Path) -> Iterator[Path]:
    """Models of the zoo with random weights, one at a time."""
    with tarfile.open(zoo / "zoo.tar.xz") as archive:
        wanted = {Path(name).name: name for name in archive.getnames()}
        names = sorted(fnmatch.filter(wanted, pattern))
        if not names:
            raise SystemExit(f"peers.py: no model of the zoo is named {pattern}")
        for name in names:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                model = Path(folder) / name
                stored = archive.extractfile(wanted[name])
                assert stored is not None
                model.write_bytes(stored.read())
                script = str(zoo / "materialize.py")
                subprocess.run([sys.executable, script, str(model)], check=True)
                yield model


def from_examples(scratch: Path) -> Iterator[Path]:
    """A small model of the project's own, static and with a dynamic batch."""
    for name, inputs in (("resnet", ()), ("resnet_dyn", ("--input", "x:1..2..8x3x32x32"))):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            model = Path(folder) / f"{name}.onnx"
            program = Path(sys.executable).parent / OWN
            source = f"{ROOT / 'examples' / 'resnet.py'}:model"
            command = [str(program), "export", source, *inputs, "-o", str(model)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            yield model


def choose_models(options: argparse.Namespace, scratch: Path) -> Iterator[Path]:
    """The models that were asked for, or the next best."""
    if options.models:
        return given(options.models, scratch)
    if (options.zoo / "zoo.tar.xz").is_file():
        return from_zoo(options.zoo, options.select, scratch)
    _say(f"no zoo.tar.xz in {options.zoo}: measuring exports of examples/resnet.py instead")
    return from_examples(scratch)


def machine() -> str:
    """The machine in a few words."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {gib:.0f} GiB, {platform.system()} {platform.machine()}"


def heading(facts: dict[str, Any]) -> Iterator[str]:
    """What was measured, where and with which versions."""
    yield f"date      {facts['date']}"
    yield f"machine   {facts['machine']}"
    for name, versions in facts["versions"].items():
        yield f"{name:<9} " + ", ".join(f"{key} {value}" for key, value in versions.items())
    yield f"wall      min, median and max of {facts['rounds']} runs of the whole process"
    yield (
        f"peak      highest of {facts['rounds']} more runs: {facts['memory']} of the process tree "
        f"every {measure.INTERVAL * 1000:.0f} ms, or the kernel's peak of its largest process"
    )
    yield "ratios    to the fastest and to the smallest peer that succeeded"
    yield "budget    half of both; under 10 MB no slower than the fastest; start-up a quarter"
    for number, tool in enumerate((*TOOLS, *STARTUP)):
        yield f"{'' if number else 'commands':<9} {tool.command}"


def lines(table: Table) -> Iterator[str]:
    """One table as text."""
    yield table.title
    wide = max(len(row.tool.label) for row in table.rows)
    yield (
        f"{'':<{wide}}  {'wall s: min':>11} {'median':>7} {'max':>7} {'ratio':>6}"
        f"  {'peak MiB':>8} {'ratio':>6}  result  budget"
    )
    for row in table.rows:
        least, median, greatest = row.wall
        wall, memory = (f"{r:.3f}" if r is not None else "-" for r in table.ratios(row))
        yield (
            f"{row.tool.label:<{wide}}  {least:>11.2f} {median:>7.2f} {greatest:>7.2f} {wall:>6}"
            f"  {row.peak:>8.0f} {memory:>6}"
            f"  {row.result:<6}  {table.budget(row)}"
        ).rstrip()
    for row in table.rows:
        if row.failed:
            yield f"  {row.tool.label}: {row.said or 'left no output'}"


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "said nothing")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="peers.py", description="tripoint beside its peers: wall time and peak memory"
    )
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="ONNX files")
    parser.add_argument(
        "--peers", type=Path, required=True, metavar="VENV", help="has bench/requirements.txt"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument(
        "--zoo", type=Path, default=ZOO, metavar="DIR", help="has zoo.tar.xz and materialize.py"
    )
    parser.add_argument(
        "--select",
        default="ecaresnet26t.*",
        metavar="PATTERN",
        help="which models of the zoo; default: ecaresnet26t.*",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all runs here")
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="for one run; default: 600"
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not sys.platform.startswith("linux"):
        parser.error("memory is read from /proc, which only Linux has")
    return options


def _measure_all(
    bench: Bench, models: Iterator[Path], rounds: int, show: Callable[[Table], None]
) -> list[Table]:
    tables = []
    for model in models:
        size = sum(file.stat().st_size for file in model.parent.rglob("*"))
        title = f"{model.name}, {size / 1e6:.1f} MB with weights"
        _say(title)
        small = size < SMALL_BYTES
        rows = bench.measure(TOOLS, model, rounds)
        tables.append(Table(title, rows, 1.0 if small else None, memory_limited=not small))
        show(tables[-1])
    _say("start-up")
    rows = bench.measure(STARTUP, None, STARTUP_ROUNDS)
    tables.append(Table(f"start-up, {STARTUP_ROUNDS} rounds", rows, memory_limited=False))
    show(tables[-1])
    return tables


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = _parse(arguments)

    def show(table: Table) -> None:
        print("", *lines(table), sep="\n", flush=True)

    with tempfile.TemporaryDirectory(prefix="tripoint-bench-") as name:
        scratch = Path(name)
        bench = Bench(options.peers.absolute(), scratch, options.timeout)
        if missing := bench.missing():
            raise SystemExit(f"peers.py: not installed: {', '.join(missing)}")
        facts = {
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
            "versions": bench.versions(),
            "rounds": options.rounds,
            "memory": measure.kind_of_memory(),
        }
        print(*heading(facts), sep="\n", flush=True)
        tables = _measure_all(bench, choose_models(options, scratch), options.rounds, show)
    if options.json:
        document = {"schema_version": 1, **facts, "tables": [table.as_json() for table in tables]}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return int(any(row.failed and not row.tool.is_peer for table in tables for row in table.rows))


if __name__ == "__main__":
    sys.exit(main())
