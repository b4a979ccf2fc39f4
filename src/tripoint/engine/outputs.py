"""Writing a plan and its manifest so that they belong together.

Both are made as hidden temporary files beside their places. What is guaranteed:

- An error or an interrupt leaves both places as they were.
- A manifest that exists describes the plan beside it: the old manifest is taken away before the new
  plan comes, and the new one comes last. A process that is killed between these renames leaves a
  plan without a manifest, and hidden files that the next build removes. The hash in the manifest
  shows any other mixture, such as a copy that was made meanwhile.
- One build at a time writes a plan: a lock file beside it, gone afterwards, turns others away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tripoint import files
from tripoint.errors import OutputError


@contextlib.contextmanager
def pair(plan: Path, manifest: Path, *, force: bool = False) -> Iterator[tuple[Path, Path]]:
    """Give temporary paths for a plan and its manifest, which take their places together.

    Args:
        plan: Where the plan belongs.
        manifest: Where the manifest belongs, in the same folder.
        force: Whether existing files may be replaced.

    Yields:
        The two temporary paths, in this order. The block writes both.

    Raises:
        OutputError: If a file exists without ``force``, another build writes the plan, or the
            folder cannot be written to.
    """
    _refuse_overwrite(plan, manifest, force)
    try:
        with files.lock(plan) as alone:
            if not alone:
                raise OutputError(
                    f"another build is writing {plan}",
                    hint="wait for it, or choose another place with -o",
                )
            # Another build may have ended between the look and the lock.
            _refuse_overwrite(plan, manifest, force)
            for path in (plan, manifest):
                _remove_remains(path)
            with files.temporary(plan) as new_plan, files.temporary(manifest) as new_manifest:
                yield new_plan, new_manifest
                _refuse_overwrite(plan, manifest, force)
                _replace(new_plan, plan, new_manifest, manifest)
    except OSError as error:
        raise OutputError(f"cannot write {plan}: {files.reason(error)}") from error


def _refuse_overwrite(plan: Path, manifest: Path, force: bool) -> None:
    for path in (plan, manifest):
        files.refuse_overwrite(path, force=force)


def _remove_remains(place: Path) -> None:
    """Remove temporary files of builds that were killed; whoever holds the lock is alone."""
    start, end = f".{place.name}.", ".tmp"
    for path in place.parent.iterdir():
        if path.name.startswith(start) and path.name.endswith(end):
            with contextlib.suppress(OSError):
                path.unlink()


def _replace(new_plan: Path, plan: Path, new_manifest: Path, manifest: Path) -> None:
    with files.temporary(manifest) as old:
        if manifest.exists():
            manifest.replace(old)
        else:
            old.unlink()
        try:
            files.publish(new_plan, plan)
        except BaseException:
            if new_plan.exists() and old.exists():
                old.replace(manifest)
            raise
        finally:
            if not new_plan.exists():
                files.publish(new_manifest, manifest)
