"""A machine as a result tells of it."""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType, convert

from nanonap.lab.ground.host import Facts

# Runs are only compared when these agree (what changes from run to run is left out).
_STEADY = ("kernel", "arch", "cpu_model", "cpus_online", "clocksource", "governor", "hypervisor", "boot")


class Host(Struct, frozen=True, kw_only=True):
    """What ``nanonap.lab.ground.host.facts`` found; None where the machine does not say.

    Times in ns, memory in bytes; ``accelerator``, kvm or tcg, is told of guests alone.
    """

    kernel: str | None = None
    arch: str | None = None
    cpu_model: str | None = None
    cpus_online: int | None = None
    cpus_allowed: int | None = None
    hypervisor: bool | None = None
    clocksource: str | None = None
    governor: str | None = None
    idle_driver: str | None = None
    timer_slack_ns: int | None = None
    scheduler_policy: str | None = None
    nice: int | None = None
    cgroup: str | None = None
    load_average: list[float] | None = None
    memory_bytes: int | None = None
    python: str | None = None
    tool: str | None = None
    boot: str | None = None
    accelerator: str | UnsetType = UNSET

    def __str__(self) -> str:
        """One line for a person."""
        parts = [
            self.short,
            f"clocksource {self.clocksource or 'unknown'}",
            f"governor {self.governor or 'none'}",
            f"timer slack {'unknown' if self.timer_slack_ns is None else f'{self.timer_slack_ns} ns'}",
            f"{self.scheduler_policy}, nice {self.nice}",
        ]
        return "; ".join(parts)

    @property
    def short(self) -> str:
        """The processor and the kernel."""
        kind = "virtual machine" if self.hypervisor else "bare metal"
        return f"{self.cpu_model or self.arch}, {self.cpus_online} CPUs, {kind}; Linux {self.kernel}"


def host_of(outside: Facts, inside: Facts) -> Host:
    """The host's facts, with those of the place inside it over them."""
    return convert({**outside, **inside}, Host)


def disagreements(hosts: Sequence[Host]) -> list[str]:
    """Names of the steady facts in which these differ: such runs do not compare."""
    return [name for name in _STEADY if len({getattr(host, name) for host in hosts}) > 1]
