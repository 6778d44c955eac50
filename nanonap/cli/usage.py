"""The command line as Invoke reads it, mended in three things: statuses, help behind a task's name, stdout.

Invoke gives 1 to its ParseError, and whatever it catches as an Exit the status that this carries (Program.run). The
parser raises the class below, which is both.
"""

import errno
import io
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import parser
from invoke.exceptions import Exit, ParseError
from invoke.parser.context import ParserContext
from invoke.parser.parser import ParseMachine

from nanonap.base.errors import DiskFull, OutputNotWritable, UsageError
from nanonap.base.interrupts import end_at_once
from nanonap.base.terminal import TYPED

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_CALLED = ("invoke", "inv", "nanonap")
_FAMILY = "fleet"


class UnreadableCommandLine(ParseError, Exit):
    """Invoke's ParseError with our exit status."""

    def __init__(self, message: str, context: ParserContext | None = None) -> None:
        """As ParseError; the Exit in it says nothing, for Invoke prints a ParseError itself."""
        ParseError.__init__(self, message, context)
        self.args = (message,)
        self.message = None
        self._code = UsageError.exit_code


_read_word = ParseMachine.handle


def _read_word_or_help(machine: ParseMachine, token: str) -> None:
    """As Invoke's, for each word of the command line, but one with a dash is no file: ``inspect --help`` shows help.

    ``fleet bench`` is the task ``fleet-bench``.
    """
    context, core = machine.context, machine.initial.flags
    family = getattr(machine, "family", None)
    machine.family = None  # a machine reads one command line
    if family is not None:
        token = f"{family}-{token}"
        if token not in machine.contexts:
            machine.error(f"No idea what {token.replace('-', ' ', 1)!r} is! (`--list` shows the tasks of {family})")
    own = token in context.flags or token in context.inverse_flags or machine.waiting_for_flag_value
    task = token in machine.contexts
    spare = [each for each in context.positional_args if each.default is not None and not each.got_value]
    if token == _FAMILY and machine.contexts and not own and not context.missing_positional_args:
        machine.family = token
    elif machine.current_state == "context" and not own and spare and token[:1] != "-" and not task:
        spare[0].value = token  # Invoke itself gives none to a positional argument that may be left out
    elif machine.current_state != "context" or own or not context.missing_positional_args or token[:1] != "-":
        _read_word(machine, token)
    elif token in core and core[token].name == "help":
        core[token].value = context.name
        for each in context.missing_positional_args:  # none is missed where only help is wanted
            each.value = ""
    else:
        machine.error(f"No idea what {token!r} is! (A file of that name is ./{token})")


class _Stdout(io.FileIO):
    """Standard output: what cannot be written is told once, by an Exit that Invoke shows; the rest is dropped."""

    _lost = False

    def write(self, data: "ReadableBuffer", /) -> int:
        """As FileIO's. Raises Exit."""
        if self._lost:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self._lost = True
            if error.errno == errno.EPIPE:  # the reader, a `head` perhaps, has seen enough
                raise Exit(code=141) from None  # as a shell shows SIGPIPE
            kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else OutputNotWritable
            raise Exit(
                f"nanonap: stdout: cannot be written ({os.strerror(error.errno or 0)}): the answer is lost, files "
                "that were written are whole; send it elsewhere",
                kind.exit_code,
            ) from None


def open_front_door() -> None:
    """Make Invoke's parser, and in the process that a command runs in, stdout ours, before any task is looked at."""
    parser.parser.ParseError = UnreadableCommandLine  # type: ignore[attr-defined, assignment]  # Invoke offers no way to raise another class
    ParseMachine.handle = _read_word_or_help  # type: ignore[method-assign, assignment]  # nor to read a word otherwise
    called = Path(sys.argv[0])
    if called.name not in _CALLED:
        return  # a test looks at the tasks
    os.environ.setdefault(TYPED, called.name if shutil.which(called.name) == str(called) else str(called))
    end_at_once()
    if sys.stdout is None:
        raise Exit("nanonap: stdout is closed; send it to a file or to /dev/null", OutputNotWritable.exit_code)
    # A file's name may be no UTF-8. Every line is sent at once, so that Invoke is there to tell what becomes of it.
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Stdout(1, "w", closefd=False)),
        encoding=sys.stdout.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
