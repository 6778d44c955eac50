"""How Invoke orders our tasks: a pre-task that is also named on the command line runs once, with its options."""

from typing import Any

from invoke.executor import Executor as InvokeExecutor
from invoke.tasks import Call, Task

from nanonap.base.errors import NanonapError
from nanonap.cli.patching import check_patch
from nanonap.cli.shared import named_options
from nanonap.cli.usage import UnreadableCommandLine

OUTPUTS = ("out", "plot", "markdown")
"""The options that name what is to be written."""


class Executor(InvokeExecutor):
    """Invoke's executor, but for two things about pre-tasks.

    Invoke takes ``build`` as a pre-task and ``build`` on the command line for two calls, since only the second
    carries its options; here the one that was named stands for both. And ``patch --binary`` (or ``--image``) needs
    nothing built.
    """

    def expand_calls(self, calls: list[Call]) -> list[Call]:
        """Each call behind its pre-tasks; what is in the list twice is removed by ``dedupe`` afterwards.

        Raises UnreadableCommandLine, before any task has begun, for a value that no option can have.
        """
        for call in calls:
            _check_values(call.kwargs)
            if call.task.name == "patch" and not _given(call):
                _check_patch(call.kwargs)
        named = {call.task: call for call in calls}
        ordered: list[Call] = []
        for call in calls:
            if not _given(call):
                before = [each for each in call.task.pre if isinstance(each, Task)]
                ordered += [named.get(each) or Call(each) for each in before]
            ordered.append(call)
        return ordered


def _given(call: Call) -> bool:
    """Whether a call names what it works on; else it is what the lab built."""
    return any(call.kwargs.get(each) is not None for each in ("binary", "image"))


def _check_patch(options: dict[str, Any]) -> None:
    try:
        check_patch(**options)
    except NanonapError as error:
        raise UnreadableCommandLine(f"nanonap: {error}{named_options(error)}") from error


def _check_values(options: dict[str, Any]) -> None:
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value == "":
            raise UnreadableCommandLine(f"nanonap: {option} is empty: give it a value, or leave it out")
        if name in OUTPUTS and value == "-" and options.get("image") is None:
            raise UnreadableCommandLine(
                f"nanonap: {option} -: stdout is for the answer; name a file (./- for a file named -)"
            )
