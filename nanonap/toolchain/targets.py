"""The processors that the programs are built for. The lab's own machine is one of the first kind."""

import platform
from dataclasses import dataclass, field

from nanonap.base.errors import UsageError


@dataclass(frozen=True)
class Target:
    """A processor, under linux. Adding one is adding a row.

    ``name``: GOARCH's name, which is Debian's too; ``machine``: the kernel's (uname(2)). ``prefix``: what the names of
    its build modes begin with, so that its programs have folders of their own. ``environment`` goes over a mode's.
    ``compiler``: the C compiler's command, which the Debian packages ``packages`` give.
    """

    name: str
    machine: str
    prefix: str = ""
    compiler: str = "gcc"
    packages: tuple[str, ...] = ("gcc", "libc6-dev")
    environment: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def here(self) -> bool:
        """Whether its programs run on this machine as they are."""
        return platform.machine() == self.machine


AMD64 = Target("amd64", "x86_64")
ARM64 = Target(
    "arm64",
    "aarch64",
    prefix="arm64-",
    compiler="aarch64-linux-gnu-gcc",
    packages=("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"),
    environment={"GOARCH": "arm64", "CC": "aarch64-linux-gnu-gcc"},
)
TARGETS = {each.name: each for each in (AMD64, ARM64)}
HERE = next((each for each in TARGETS.values() if each.here), AMD64)
"""This machine's own; the first where it is another."""


def target_named(arch: str) -> Target:
    """The target that ``--arch`` names. Raises UsageError, listing the known ones."""
    if arch not in TARGETS:
        raise UsageError(f"--arch {arch}: unknown; choose from {', '.join(TARGETS)}")
    return TARGETS[arch]
