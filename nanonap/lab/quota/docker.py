"""Quota by a container engine: a container for each group, its commands run in it by ``exec``.

A container sees this machine's /usr read-only and nothing else of it; a program from elsewhere is copied in, to the
path that it is called by. So no image is asked of the user, and any command of this machine runs inside. A command's
process is in the container's cgroup from before its exec(2) on: some 15 ms of CPU time of the engine's runtime, which
starts it, count for the group too. The limits are read back from the container's cgroup, not from the engine.
"""

import os
from collections.abc import Sequence
from typing import ClassVar

from nanonap.base.processes import identity
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.quota import cgroup1, cgroup2
from nanonap.lab.quota.base import Backend, Group, StatFiles, Throttling
from nanonap.lab.quota.cgroup import is_left_behind, new_name
from nanonap.lab.quota.cgroup1 import Cgroup1Group
from nanonap.lab.quota.cgroup2 import Cgroup2Group
from nanonap.lab.quota.engine import OWNER_LABEL, Engine, at_its_path, mounted, packed, told
from nanonap.lab.quota.foreign import DELEGATE, find_group, paths_of_process
from nanonap.lab.quota.limits import Limits, Quota
from nanonap.lab.quota.shares import shares_for

_DOCKER = Engine(
    "docker", "docker.io", "start its daemon (`systemctl start docker`), or let DOCKER_HOST name one that runs here"
)
_PODMAN = Engine("podman", "podman", "see what `podman info` says, or choose another --backend")
# It must not use CPU time, and must be ended at once: a program that is PID 1 ignores SIGTERM.
_WAIT = ("/bin/sleep", "infinity")


class ContainerGroup(Group):
    """A container that waits, in which commands run."""

    def __init__(
        self,
        engine: Engine,
        image: str,
        limits: Limits,
        words: Sequence[str] | None = None,
        process: Sequence[str] = _WAIT,
    ) -> None:
        """Start it, find its cgroup, read the limits back. Raises QuotaUnavailable; nothing is left then.

        ``words`` are the options that are to give these limits, where they are not to be made of them; ``process`` is
        the container's own.
        """
        self.engine, self.name = engine, new_name()
        self._brought: set[str] = set()
        self._removal = engine.removal(self.name)
        self._answered = False
        guard.watch_command(self._removal)
        try:
            given = _words(limits) if words is None else words
            warnings = self._start(limits, [*given, image, *process])
            self._found = self._find()
            self._settle_weight(limits)
            self.effective = self._found.read_limits()
            if not limits.kept_by(self.effective):
                reason = f"asked for {limits}, the container's cgroup says {self.effective}{warnings}"
                remedy = f"choose values that it keeps; without root, {DELEGATE}"
                raise QuotaUnavailable(engine.name, reason, remedy)
        except BaseException:
            self.close()
            raise

    def _start(self, limits: Limits, words: Sequence[str]) -> str:
        options = ["--detach", "--pull=never", "--network=none", "--log-driver=none", "--stop-signal=SIGKILL"]
        options += [f"--name={self.name}", f"--label={OWNER_LABEL}={identity()}"]
        options += [f"--volume={folder}:{folder}:ro" for folder in mounted()]
        done = self.engine.ask("run", *options, *words)
        self._answered = True
        if done.returncode != 0:
            raise self.engine.refusal(f"a container with {limits}", done.stderr)
        return f" ({told(done.stderr)})" if done.stderr.strip() else ""

    def _find(self) -> Cgroup1Group | Cgroup2Group:
        answer = self.engine.must("inspecting it", "inspect", "--format={{.State.Pid}} {{.Id}}", self.name)
        pid, _, self._id = answer.partition(" ")
        try:
            return find_group(paths_of_process(int(pid), self._id))
        except (OSError, ValueError) as error:
            reason = f"the container's cgroup is not seen on this machine ({error})"
            remedy = "use an engine whose containers are processes of this machine: no other host, no virtual machine"
            raise QuotaUnavailable(self.engine.name, reason, remedy) from error

    def _settle_weight(self, limits: Limits) -> None:
        # The runtime turns shares into cgroup v2's weight in one of two ways and does not tell in which.
        if limits.weight is None or self._found.read_limits().weight == limits.weight:
            return
        for shares in shares_for(limits.weight, self.stat_files.version):
            self.engine.must(f"setting cpu.weight {limits.weight}", "update", f"--cpu-shares={shares}", self.name)
            if self._found.read_limits().weight == limits.weight:
                return

    def set_quota(self, quota: Quota) -> None:
        """By the engine's ``update``."""
        self.engine.must(f"setting {quota}", "update", *_quota_words(quota), self.name)

    def check_exec(self) -> None:
        """See that a command's process is in the container's cgroup. Raises QuotaUnavailable.

        Docker before 23 put it elsewhere where containers had a parent slice (moby issue 42704).
        """
        text = self.engine.must("a command in the container", *self._exec(), "/bin/cat", "/proc/self/cgroup")
        inside = cgroup1.own_path(text, "cpu") if self.stat_files.version == 1 else cgroup2.own_path(text)
        # Its own cgroup namespace shows a container its own cgroup as /.
        if self._id not in inside and inside != "/":
            reason = f"a command run by `{self.engine.name} exec` is in the cgroup {inside}, not in the container's"
            raise QuotaUnavailable(self.engine.name, reason, "update the engine, or unset its cgroup-parent")

    def _exec(self) -> list[str]:
        # What a Go program's runtime obeys, as with the other backends.
        variables = [f"--env={name}" for name in sorted(os.environ) if name.startswith("GO")]
        return ["exec", *variables, self.name]

    def command(self, argv: Sequence[str]) -> list[str]:
        """``exec`` in the container; the program is copied in first if it is not there. Raises QuotaUnavailable."""
        program = at_its_path(argv[0])
        if program is None:
            return [self.engine.name, *self._exec(), *argv]
        if str(program) not in self._brought:
            self.engine.must(f"copying {program} in", "cp", "-", f"{self.name}:/", stdin=packed(program))
            self._brought.add(str(program))
        return [self.engine.name, *self._exec(), str(program), *argv[1:]]

    def counters(self) -> Throttling | None:
        """Those of the container's cgroup. Raises QuotaUnavailable if the container has ended."""
        try:
            return self._found.counters()
        except (OSError, QuotaUnavailable) as error:
            reason = f"the container's counters cannot be read ({error})"
            remedy = "see why it ended: by its memory limit, or removed by another"
            raise QuotaUnavailable(self.engine.name, reason, remedy) from error

    @property
    def stat_files(self) -> StatFiles:
        """Those of the container's cgroup."""
        return self._found.stat_files

    def close(self) -> None:
        """Remove the container, and end with it what runs in it. Raises QuotaUnavailable if it stays."""
        self.engine.remove(self.name)
        # An engine whose client was interrupted may make the container yet: then the watchdog's turn comes at the end.
        if self._answered:
            guard.forget_command(self._removal)


def _words(limits: Limits) -> list[str]:
    words = _quota_words(limits.quota) if limits.quota.limited else []
    if limits.weight is not None:
        words += [f"--cpu-shares={shares_for(limits.weight, 1)[0]}"]
    if limits.memory_bytes is not None:
        words += [f"--memory={limits.memory_bytes}"]
    return words


def _quota_words(quota: Quota) -> list[str]:
    return [f"--cpu-period={quota.period_ns // 1_000}", f"--cpu-quota={(quota.quota_ns or 0) // 1_000}"]


class ContainerBackend(Backend):
    """Containers of an engine on this machine. The image that it makes is empty, and kept for the next time."""

    elsewhere: ClassVar[bool] = True
    engine: ClassVar[Engine]

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._image: str | None = None
        self._checked = False

    def prepare(self) -> None:
        """Remove the containers of dead owners, make the image. Raises QuotaUnavailable."""
        label, names = f"--filter=label={OWNER_LABEL}", "--format={{.Names}}"
        for name in self.engine.must("listing containers", "ps", "--all", label, names).split():
            if is_left_behind(name):
                self.engine.remove(name)
        self._image = self.engine.make_image()

    def open(
        self, limits: Limits, words: Sequence[str] | None = None, process: Sequence[str] = _WAIT
    ) -> ContainerGroup:
        """A new container; ``words`` and ``process`` as ContainerGroup has them. Raises QuotaUnavailable."""
        if limits.quota.burst_ns:
            reason = f"{self.name} has no option for burst"
            raise QuotaUnavailable(self.name, reason, "use --backend cgroup2 or cgroup1 for burst, or leave it out")
        group = ContainerGroup(self.engine, self._image or self.engine.make_image(), limits, words, process)
        if not self._checked:
            try:
                group.check_exec()
            except BaseException:
                group.close()
                raise
            self._checked = True
        return group

    def close(self) -> None:
        """Nothing was changed but the image made."""


class DockerBackend(ContainerBackend):
    """Docker, where DOCKER_HOST or its context say."""

    name: ClassVar[str] = "docker"
    engine: ClassVar[Engine] = _DOCKER

    @property
    def driver(self) -> str:
        """``systemd`` or ``cgroupfs``."""
        return self.engine.must("asking for its cgroup driver", "info", "--format={{.CgroupDriver}}")


class PodmanBackend(ContainerBackend):
    """Podman, with root or without."""

    name: ClassVar[str] = "podman"
    engine: ClassVar[Engine] = _PODMAN
