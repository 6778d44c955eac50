"""What every task shares: our errors as one line and an exit status, whole numbers, the one JSON document."""

import functools
import io
import json as json_module
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

from invoke.exceptions import Exit

from nanonap.errors import Interrupted, NanonapError, UsageError

P = ParamSpec("P")
JSON_HELP = "one JSON document on stdout, and nothing else there"


def front_door(body: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into one line on stderr and an exit status; Ctrl-C into 130."""

    @functools.wraps(body)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a file's name may be no UTF-8
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up as Ctrl-C does
        try:
            body(*args, **kwargs)
        except KeyboardInterrupt:
            raise Exit("nanonap: interrupted; nothing half-written is left", Interrupted.exit_code) from None
        except BrokenPipeError:  # the reader, a `head` perhaps, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=141) from None  # as a shell shows SIGPIPE
        except NanonapError as error:
            raise Exit(f"nanonap: {error}", error.exit_code) from error

    return wrapped


def whole(option: str, text: str | None) -> int | None:
    """An option's whole number, or None where it was not given. Raises UsageError."""
    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise UsageError(f"--{option} {text}: not a whole number") from error


def show_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """The one document on stdout."""
    print(json_module.dumps(document, indent=1))
