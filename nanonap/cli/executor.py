"""How Invoke orders our tasks: a pre-task that is also named on the command line runs once, with its options."""

from invoke.executor import Executor as InvokeExecutor
from invoke.tasks import Call, Task


class Executor(InvokeExecutor):
    """Invoke's executor, but for two things about pre-tasks.

    Invoke takes ``build`` as a pre-task and ``build`` on the command line for two calls, since only the second
    carries its options; here the one that was named stands for both. And ``patch --binary`` needs nothing built.
    """

    def expand_calls(self, calls: list[Call]) -> list[Call]:
        """Each call behind its pre-tasks; what is in the list twice is removed by ``dedupe`` afterwards."""
        named = {call.task: call for call in calls}
        ordered: list[Call] = []
        for call in calls:
            if not call.kwargs.get("binary"):
                before = [each for each in call.task.pre if isinstance(each, Task)]
                ordered += [named.get(each) or Call(each) for each in before]
            ordered.append(call)
        return ordered
