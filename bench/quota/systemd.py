"""Quota by systemd: a transient slice with the limits for each group, its commands run in scopes inside that slice.

The slice stays between commands, so that its counters can be read before and after one. It is made over D-Bus because
``systemd-run`` makes no slices; the properties are those of systemd.resource-control(5), and the limits are read back
from the cgroup, not from systemd. Standard library only: it runs inside a guest too.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from bench.errors import QuotaUnavailable
from bench.quota.base import Backend, Group, StatFiles, Throttling
from bench.quota.cgroup import new_name, owner_of
from bench.quota.cgroup1 import Cgroup1Group
from bench.quota.cgroup2 import Cgroup2Group
from bench.quota.found import DELEGATE, find_group
from bench.quota.limits import Limits, Quota
from bench.quota.watchdog import guard
from nanonap.processes import is_alive

_COMMANDS = ("systemd-run", "systemctl", "busctl")
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_PER_SECOND = 1_000_000
_NO_QUOTA = (1 << 64) - 1  # CPUQuotaPerSecUSec=infinity
_PATIENCE_S = 30.0
#: A property as D-Bus has it: name, signature, value.
Property = tuple[str, str, str]


def quota_properties(quota: Quota) -> list[Property]:
    """What gives exactly this quota: systemd keeps µs per second, and multiplies by the period, rounding down."""
    if quota.quota_ns is None:
        return [("CPUQuotaPerSecUSec", "t", str(_NO_QUOTA))]
    quota_us, period_us = quota.quota_ns // 1_000, quota.period_ns // 1_000
    # Rounded up it is off by less than 1 µs per second, hence by less than 1 µs per period of at most a second.
    per_second_us = -(-quota_us * _PER_SECOND // period_us)
    return [("CPUQuotaPerSecUSec", "t", str(per_second_us)), ("CPUQuotaPeriodUSec", "t", str(period_us))]


def properties(limits: Limits) -> list[Property]:
    """Those of a slice with these limits."""
    made = quota_properties(limits.quota) if limits.quota.limited else []
    if limits.weight is not None:
        made.append(("CPUWeight", "t", str(limits.weight)))
    if limits.memory_bytes is not None:
        made.append(("MemoryMax", "t", str(limits.memory_bytes)))
    return made


def slice_name(name: str) -> str:
    """A group's name as a slice's: a "-" would be a slice within a slice (systemd.slice(5))."""
    return name.replace("-", "_") + ".slice"


class Manager:
    """systemd's commands, to the system's manager or to the user's own."""

    def __init__(self, backend: str, scope: str) -> None:
        """``scope`` is ``--system`` or ``--user``."""
        self.backend, self.scope = backend, scope

    def must(self, action: str, *argv: str) -> str:
        """What a command wrote. Raises QuotaUnavailable, in its words, if it fails.

        It leads a session of its own, so that a Ctrl-C does not end it half-way.
        """
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE_S,
                start_new_session=True,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._refusal(action, str(error)) from error
        if done.returncode != 0:
            raise self._refusal(action, done.stderr)
        return done.stdout

    def systemctl(self, *arguments: str) -> list[str]:
        """The argument vector of a systemctl that asks nobody."""
        return ["systemctl", self.scope, "--no-ask-password", "--no-pager", *arguments]

    def call(self, action: str, method: str, signature: str, *arguments: str) -> None:
        """A method of the manager. Raises QuotaUnavailable."""
        options = [self.scope, "--quiet", "--allow-interactive-authorization=no"]
        self.must(action, "busctl", *options, "call", *_MANAGER, method, signature, *arguments)

    def _refusal(self, action: str, stderr: str) -> QuotaUnavailable:
        said = " ".join(stderr.split()) or "it says nothing"
        lower = said.lower()
        if "authentication required" in lower or "access denied" in lower or "not permitted" in lower:
            remedy = "run as root, or use --backend systemd-user"
        elif "bus" in lower and ("connect" in lower or "no such file" in lower):
            remedy = "install and start D-Bus (on Debian: apt-get install dbus; for a user's own, dbus-user-session)"
        else:
            remedy = "choose values that it takes, or another --backend"
        return QuotaUnavailable(self.backend, f"{action} was refused ({said})", remedy)


class SliceGroup(Group):
    """A transient slice."""

    def __init__(self, manager: Manager, limits: Limits) -> None:
        """Make it and read its limits back. Raises QuotaUnavailable; nothing is left then."""
        self.manager, self.slice = manager, slice_name(new_name())
        self._limits = limits
        self._ends = [manager.systemctl("stop", self.slice)]
        self._started = False
        guard.watch_command(self._ends[0])
        try:
            made = [("Description", "s", "a group of nanonap"), *properties(limits)]
            arguments = [self.slice, "fail", *_flat(made), "0"]
            manager.call(f"a slice with {limits}", "StartTransientUnit", "ssa(sv)a(sa(sv))", *arguments)
            manager.must("starting it", *manager.systemctl("start", self.slice))  # the call above only begins it
            self._started = True
            self._found = self._find()
            self._read_back()
        except BaseException:
            self.close()
            raise

    def _find(self) -> Cgroup1Group | Cgroup2Group:
        show = self.manager.systemctl("show", "--property=ControlGroup", "--value", self.slice)
        path = self.manager.must("asking for its cgroup", *show).strip()
        try:
            found = find_group(lambda _controller: path)
        except OSError as error:
            reason = f"its cgroup {path or 'without a path'} has no cpu controller ({error})"
            raise QuotaUnavailable(self.manager.backend, reason, self._controllers_remedy()) from error
        wanted = {"cpu.max": self._limits.quota.limited, "cpu.weight": self._limits.weight is not None}
        wanted["memory.max"] = self._limits.memory_bytes is not None
        for file, asked in wanted.items():
            if isinstance(found, Cgroup2Group) and asked and not (found.folder / file).exists():
                reason = f"the {file.partition('.')[0]} controller is not there ({found.folder} has no {file})"
                raise QuotaUnavailable(self.manager.backend, reason, self._controllers_remedy())
        return found

    def _controllers_remedy(self) -> str:
        return DELEGATE if self.manager.scope == "--user" else "boot with systemd.unified_cgroup_hierarchy=1"

    def _read_back(self) -> None:
        self.effective = self._found.read_limits()
        if not self._limits.kept_by(self.effective):
            reason = f"asked for {self._limits}, the slice's cgroup says {self.effective}"
            raise QuotaUnavailable(self.manager.backend, reason, "choose values that systemd keeps")

    def set_quota(self, quota: Quota) -> None:
        """Another quota, while commands run. Raises QuotaUnavailable."""
        self._limits = Limits(
            _without_burst(self.manager.backend, quota), self._limits.weight, self._limits.memory_bytes
        )
        revert = self.manager.systemctl("revert", self.slice)
        if revert not in self._ends:
            # A change of a running unit is written below /run, and outlives the unit.
            guard.watch_command(revert)
            self._ends.append(revert)
        arguments = [self.slice, "true", *_flat(quota_properties(quota))]
        self.manager.call(f"setting {quota}", "SetUnitProperties", "sba(sv)", *arguments)
        self._read_back()

    def command(self, argv: Sequence[str]) -> list[str]:
        """``systemd-run --scope``: it becomes the command once it is in the scope. SIGKILL is what ends the scope."""
        options = ["--quiet", "--collect", "--no-ask-password", "--property=KillSignal=SIGKILL"]
        return ["systemd-run", self.manager.scope, "--scope", f"--slice={self.slice}", *options, "--", *argv]

    def counters(self) -> Throttling | None:
        """Those of the slice's cgroup. Raises QuotaUnavailable if it is gone."""
        try:
            return self._found.counters()
        except (OSError, QuotaUnavailable) as error:
            reason = f"the counters of {self.slice} cannot be read ({error})"
            raise QuotaUnavailable(self.manager.backend, reason, "see who stopped the slice") from error

    @property
    def stat_files(self) -> StatFiles:
        """Those of the slice's cgroup."""
        return self._found.stat_files

    def close(self) -> None:
        """Stop the slice, and with it every scope inside. Raises QuotaUnavailable if it cannot be stopped."""
        for argv in self._ends:
            try:
                self.manager.must("ending it", *argv)
            except QuotaUnavailable:
                if self._started:
                    raise
            guard.forget_command(argv)


def _flat(values: Sequence[Property]) -> list[str]:
    return [str(len(values)), *(word for value in values for word in value)]


def _without_burst(backend: str, quota: Quota) -> Quota:
    if quota.burst_ns:
        reason = "systemd has no property for burst"
        raise QuotaUnavailable(backend, reason, "use --backend cgroup2 for burst, or leave it out")
    return quota


class SystemdBackend(Backend):
    """Slices of the system's manager; root's, or whom polkit lets."""

    name: ClassVar[str] = "systemd"
    scope: ClassVar[str] = "--system"

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._manager = Manager(self.name, self.scope)

    def prepare(self) -> None:
        """See that systemd runs here, stop the slices of dead owners. Raises QuotaUnavailable."""
        missing = [command for command in _COMMANDS if shutil.which(command) is None]
        if missing:
            remedy = "install systemd, or use --backend cgroup2 or cgroup1"
            raise QuotaUnavailable(self.name, f"there is no {', no '.join(missing)} command here", remedy)
        if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
            reason = "this machine was not booted with systemd"
            remedy = "use --backend cgroup2 or cgroup1, or guest-systemd, which boots a machine with it"
            raise QuotaUnavailable(self.name, reason, remedy)
        self._check_manager()
        listing = self._manager.systemctl("list-units", "--all", "--plain", "--no-legend", "--full", "--type=slice")
        for line in self._manager.must("listing slices", *listing, "nanonap_*.slice").splitlines():
            name = line.split()[0]
            owner = owner_of(name.removesuffix(".slice").replace("_", "-"))
            if owner is not None and not is_alive(owner):
                # Another's start may stop it first.
                with contextlib.suppress(QuotaUnavailable):
                    self._manager.must("stopping a slice", *self._manager.systemctl("stop", name))

    def _check_manager(self) -> None:
        """The system's manager is there if systemd is."""

    def open(self, limits: Limits) -> Group:
        """A new slice. Raises QuotaUnavailable."""
        _without_burst(self.name, limits.quota)
        return SliceGroup(self._manager, limits)

    def close(self) -> None:
        """Nothing was changed outside of the slices."""


class SystemdUserBackend(SystemdBackend):
    """Slices of the user's own manager, which needs no root but controllers delegated to it."""

    name: ClassVar[str] = "systemd-user"
    scope: ClassVar[str] = "--user"

    def _check_manager(self) -> None:
        folder = os.environ.get("XDG_RUNTIME_DIR")
        if folder is not None and Path(folder, "systemd", "private").exists():
            return
        reason = "no user manager runs for this user" if folder else "XDG_RUNTIME_DIR is not set"
        user = os.getuid()
        remedy = (
            f"log in by ssh or at the console (su and sudo start none), or `loginctl enable-linger {user}` and "
            f"`export XDG_RUNTIME_DIR=/run/user/{user}`"
        )
        raise QuotaUnavailable(self.name, reason, remedy)
