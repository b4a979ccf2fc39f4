"""``tripoint fix``: rewrites with proof."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from tripoint.cli import console, options, prefetch


@console.reported
def fix(
    model: options.ModelArgument,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="where the new model goes; MODEL.fixed.onnx beside an ONNX file"
        ),
    ] = None,
    target: options.Target = None,
    tensorrt: options.TensorRT = None,
    shapes: options.Ranges,
    feed: options.Feed,
    input_names: options.InputNames = None,
    select: Annotated[
        list[str] | None, typer.Option(metavar="REWRITE", help="only these rewrites")
    ] = None,
    unsafe_fixes: Annotated[
        bool,
        typer.Option("--unsafe-fixes", help="also those that change results in a corner case"),
    ] = False,
    no_numeric_proof: Annotated[
        bool, typer.Option("--no-numeric-proof", help="prove shapes only; the result says so")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="write nothing")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="show the change as ONNX text")] = False,
    export: options.Export,
    form: options.Form,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """Rewrite the graph for TensorRT, with proof.

    A rewrite is kept only if all shapes stay the same and ONNX Runtime computes the same numbers.
    """
    prefetch.parser(model, target, tensorrt)
    from tripoint import api, files
    from tripoint import model as models
    from tripoint.cli.load_model import opened
    from tripoint.errors import UsageError
    from tripoint.report import fixes, tables
    from tripoint.report.diff import graph_diff

    spec = shapes.spec()
    with opened(model, spec, export) as loaded:
        path = output or _beside(model)
        if path is None and not dry_run:
            raise UsageError("a PyTorch model has no file to write beside", hint="give -o FILE")
        if path is not None and not dry_run:
            files.refuse_same(Path(model), path)
            files.refuse_overwrite(path, force=form.force)
        with console.progress(quiet=quiet) as progress:
            result = api.fix(
                loaded,
                spec=spec,
                **feed.arguments(),
                input_names=options.names(input_names),
                target=target,
                tensorrt=tensorrt,
                select=select,
                unsafe=unsafe_fixes,
                numeric=not no_numeric_proof,
                on_progress=progress,
            )
        written = path if result.proven and not dry_run else None
        if written is not None:
            models.save(result.model, written, force=form.force)
        console.emit(
            form,
            "fix",
            loaded,
            lines=lambda: [
                *fixes.fix(result),
                *tables.parsed_or_built(
                    (result.facts_after if result.proven else result.facts_before).table
                ),
                *(graph_diff(loaded, result.model) if diff else ()),
                f"wrote {written}" if written is not None else "wrote nothing",
            ],
            document=lambda: {
                **fixes.fix_document(result),
                "output": str(written) if written is not None else None,
                **({"diff": graph_diff(loaded, result.model)} if diff else {}),
            },
        )
    if not result.proven:
        sys.stderr.write("tripoint fix: the whole model is not proven equal; nothing was kept\n")
        raise typer.Exit(console.FOUND)
    if result.undecided:
        sys.stderr.write(
            "tripoint fix: the whole model could not be compared; each rewrite that was kept is "
            "proven by itself\n"
        )
        reason = result.proof.numeric.reason if result.proof is not None else ""
        if written is not None and "cannot load" not in reason:
            command = ["tripoint", "verify", model, "--fixed", str(written)]
            sys.stderr.write(f"  next: {shlex.join(command)} --inputs inputs.npz\n")
    skipped = result.proof is not None and result.proof.numeric.status == "skipped"
    if strict and (skipped or result.undecided):
        raise typer.Exit(console.UNPROVEN)
    if result.remaining and strict:
        raise typer.Exit(console.FOUND)


def _beside(model: str) -> Path | None:
    path = Path(model)
    if path.suffix != ".onnx" and path.suffix != ".onnxtxt":
        return None
    return path.with_name(f"{path.stem}.fixed{path.suffix}")
