"""Quota in a guest of our own: cgroup v2, or systemd, on a machine that has neither.

The class that sets the limits is the project's own, running inside; here its groups are opened by request.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.errors import QuotaUnavailable, RunFailed
from bench.guest.accelerator import EMULATED
from bench.guest.image import image
from bench.guest.machine import Machine, boot
from bench.guest.wire import limits_from_json, limits_to_json
from bench.quota.base import Backend, Group, Throttling
from bench.quota.limits import Limits
from nanonap.errors import NanonapError
from nanonap.paths import PROJECT

_TAIL = 600


class GuestGroup(Group):
    """A group inside the guest. Its command is a client on this host, which the run inside ends with."""

    def __init__(self, machine: Machine, limits: Limits) -> None:
        """Open it. Raises QuotaUnavailable."""
        self._machine = machine
        answer, _ = machine.ask({"do": "open", "limits": limits_to_json(limits)})
        self.number: int = answer["group"]
        self.effective = limits_from_json(answer["effective"])
        #: ``cpu_stat``, ``version``, ``usage`` as StatFiles has them, but of the guest's file system; or None.
        self.files_inside: dict[str, Any] | None = answer["stat_files"]

    @property
    def machine(self) -> Machine:
        """The guest that it is in."""
        return self._machine

    def command(self, argv: Sequence[str]) -> list[str]:
        """A client that sends in the executable files of ``argv`` which the guest lacks, and runs it in the group.

        Programs of the image are named as they are there (``python3``, ``/bin/true``). Environment variables that
        begin with GO go along.
        """
        return [*client(self._machine), str(self.number), "--", *argv]

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The argument vector that runs ``argv``, all of the guest, in the group from inside the guest."""
        answer, _ = self._machine.ask({"do": "command", "group": self.number, "argv": list(argv)})
        return [str(word) for word in answer["argv"]]

    def counters(self) -> Throttling | None:
        """As the guest's kernel counts."""
        answer, _ = self._machine.ask({"do": "counters", "group": self.number})
        return None if answer["counters"] is None else Throttling(**answer["counters"])

    def close(self) -> None:
        """End what runs in it and remove it; with the guest gone there is nothing to do."""
        with contextlib.suppress(NanonapError):
            self._machine.ask({"do": "close", "group": self.number})


class GuestBackend(Backend):
    """A guest whose only process is the agent, limited through cgroup v2."""

    name: ClassVar[str] = "guest"
    elsewhere: ClassVar[bool] = True
    mark: str | None = EMULATED
    #: Key of ``machine.INITS``.
    init: ClassVar[str] = "bare"
    #: The backend inside.
    inner: ClassVar[str] = "cgroup2"

    def __init__(self) -> None:
        """Nothing is booted yet."""
        self._machine: Machine | None = None

    def prepare(self) -> None:
        """Make the image (once), boot, prepare the backend inside. Raises QuotaUnavailable."""
        if self._machine is None:
            self._machine = boot(image(self.name), self.init, self.name)
        try:
            self._machine.ask({"do": "prepare", "backend": self.inner})
        except BaseException:
            self.close()
            raise
        if self._machine.accelerator != "tcg":
            self.mark = None  # over the class's

    @property
    def machine(self) -> Machine:
        """The guest. Raises QuotaUnavailable if none is booted."""
        if self._machine is None:
            raise QuotaUnavailable(self.name, "the guest is not booted", "call prepare() first")
        return self._machine

    def open(self, limits: Limits) -> GuestGroup:
        """A new group in the guest. Raises QuotaUnavailable."""
        return GuestGroup(self.machine, limits)

    def facts(self) -> dict[str, Any]:
        """The guest's, under the names of ``bench.host.facts``, and ``accelerator``: kvm or tcg."""
        answer, _ = self.machine.ask({"do": "facts"})
        return {**answer["facts"], "accelerator": self.machine.accelerator}

    def call(self, target: str, **arguments: Any) -> Any:  # noqa: ANN401 - what JSON can hold
        """``MODULE:FUNCTION`` of the project, called inside in a process of its own; what it returns.

        The module may only need the standard library and what else of the project does; arguments and result are
        JSON. Raises QuotaUnavailable as the function does, RunFailed if it ends in another way.
        """
        argv = ["python3", "-m", "bench.guest.called", target, json.dumps(arguments)]
        done = subprocess.run(
            [*client(self.machine), "0", "--", *argv],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode == QuotaUnavailable.exit_code:
            _, reason, remedy = json.loads(done.stderr.strip().splitlines()[-1])
            raise QuotaUnavailable(self.name, reason, remedy)
        if done.returncode != 0:
            said = " ".join(done.stderr.split())[-_TAIL:]
            raise RunFailed(f"{target} in the guest: exit status {done.returncode}; its stderr: {said}")
        return json.loads(done.stdout)

    def fetch(self, path: str) -> bytes:
        """A file of the guest. Raises QuotaUnavailable."""
        return self.machine.ask({"do": "get", "path": path})[1]

    def close(self) -> None:
        """End the guest."""
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.close()


class GuestSystemdBackend(GuestBackend):
    """A guest that systemd runs, limited through it."""

    name: ClassVar[str] = "guest-systemd"
    init: ClassVar[str] = "systemd"
    inner: ClassVar[str] = "systemd"


def client(machine: Machine) -> list[str]:
    """The command that, with a group's number, ``--`` and an argument vector, runs something in the guest."""
    python = Path(sys.executable)
    return ["/usr/bin/env", f"PYTHONPATH={PROJECT}", str(python), "-m", "bench.guest.client", str(machine.address)]
