"""Quota by systemd: a transient slice with the limits for each group, its commands run in scopes inside that slice.

The slice stays between commands, so that its counters can be read before and after one. It is made over D-Bus because
``systemd-run`` makes no slices; the properties are those of systemd.resource-control(5), and the limits are read back
from the cgroup, not from systemd. Standard library only: it runs inside a guest too.
"""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.quota.base import Backend, Group, StatFiles, Throttling
from nanonap.lab.quota.cgroup import is_left_behind, new_name
from nanonap.lab.quota.cgroup1 import Cgroup1Group
from nanonap.lab.quota.cgroup2 import Cgroup2Group
from nanonap.lab.quota.foreign import DELEGATE, find_group
from nanonap.lab.quota.limits import Limits, Quota
from nanonap.lab.quota.manager import Manager, flat, properties, quota_properties, slice_name

_COMMANDS = ("systemd-run", "systemctl", "busctl")


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
            arguments = [self.slice, "fail", *flat(made), "0"]
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
        if not path:  # of a unit that has ended
            reason = f"systemd names its slice's cgroup without a path: {self.slice} has ended"
            raise QuotaUnavailable(self.manager.backend, reason, self._controllers_remedy())
        try:
            found = find_group(lambda _controller: path)
        except (OSError, ValueError) as error:
            reason = f"its cgroup {path} has no cpu controller ({error})"
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
        arguments = [self.slice, "true", *flat(quota_properties(quota))]
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
        """Stop the slice, and with it every scope inside. Raises QuotaUnavailable if it cannot be stopped.

        Safe to call twice.
        """
        while self._ends:  # a second close has nothing to end
            try:
                self.manager.must("ending it", *self._ends[0])
            except QuotaUnavailable:
                if self._started:
                    raise
            guard.forget_command(self._ends.pop(0))


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
            if is_left_behind(name.removesuffix(".slice").replace("_", "-")):
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
