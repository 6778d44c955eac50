"""Every task, for Invoke in a checkout and for the command ``nanonap``."""

from invoke.collection import Collection
from invoke.tasks import Task

from nanonap.cli import advising, comparing, fleet, injecting, measuring, patching, testing, trying


def collection(*, checkout: bool) -> Collection:
    """The tasks by their names; ``checkout``: those that need the project's tests, too."""
    rooms = (patching, injecting, advising, comparing, measuring, fleet, trying, *((testing,) if checkout else ()))
    tasks = [each for room in rooms for each in vars(room).values() if isinstance(each, Task)]
    return Collection(*tasks)
