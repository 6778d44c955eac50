"""systemd's managers by its own commands, and limits as the properties of their units. Standard library only."""

import subprocess
from collections.abc import Sequence

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.limits import Limits, Quota

_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_PER_SECOND = 1_000_000
_NO_QUOTA = (1 << 64) - 1  # CPUQuotaPerSecUSec=infinity
_PATIENCE_S = 90.0
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


def flat(values: Sequence[Property]) -> list[str]:
    """Properties as busctl wants an array of them: how many, and the words of each."""
    return [str(len(values)), *(word for value in values for word in value)]


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
