"""Errors that reach a user, each with the exit code of the command that hit it.

The place that finds a problem raises the bare fact. Whoever knows more, usually a
command, adds the operation, the file and the next step with :meth:`TripointError.within`.
"""

from __future__ import annotations


class TripointError(Exception):
    """A problem that a user can act on.

    Args:
        fact: One sentence that says what is wrong, with the value that was found.
        hint: The next command or the change that helps, if there is one.
    """

    exit_code = 2

    def __init__(self, fact: str, *, hint: str | None = None) -> None:
        super().__init__(fact)
        self.fact = fact
        self.hint = hint
        self.operation: str | None = None
        self.subject: str | None = None

    def within(
        self,
        operation: str | None = None,
        subject: str | None = None,
        *,
        hint: str | None = None,
    ) -> TripointError:
        """Add the context that the raising code could not know; what is already known stays.

        Args:
            operation: The command or stage, for instance ``"fix"``.
            subject: The file, node or tensor that the fact is about.
            hint: The next step, if the error has none.

        Returns:
            The same error, so that ``raise error.within(...)`` reads well.
        """
        self.operation = self.operation or operation
        self.subject = self.subject or subject
        self.hint = self.hint or hint
        return self

    def __str__(self) -> str:
        context = " ".join(part for part in (self.operation, self.subject) if part)
        lines = [f"{context}: {self.fact}" if context else self.fact]
        if self.hint:
            lines.append(f"  next: {self.hint}")
        return "\n".join(lines)


class UsageError(TripointError):
    """An argument, option or combination of them that cannot be carried out."""


class InputError(TripointError):
    """A file or object that was given and cannot be used as it is."""


class MissingDependencyError(TripointError):
    """A package that this step needs is not installed."""


class OutputError(TripointError):
    """A result that could not be written."""


class ExternalStepError(TripointError):
    """A parser, builder or runtime that tripoint calls failed, crashed or ran out of memory."""

    exit_code = 4
