"""Every option of every task, as the tasks themselves have them."""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

from invoke.tasks import Task

from nanonap.cli.tasks import collection


class Option(NamedTuple):
    """``bench --out`` is Option("bench", "out")."""

    task: str
    name: str


def tasks() -> dict[str, Task[Any]]:
    """Name as typed → task."""
    return dict(collection(checkout=True).tasks)


def text_options() -> Iterator[Option]:
    """The options that take a value."""
    for name, each in tasks().items():
        for parameter in list(inspect.signature(each.body).parameters.values())[1:]:
            if parameter.annotation is not bool:
                yield Option(name, parameter.name)
