"""Go programs for linux/arm64, built here: the compiler makes code for any processor."""

from pathlib import Path

from nanonap.base.paths import TRIED
from nanonap.toolchain.build import build_one
from nanonap.toolchain.modes import Mode
from nanonap.toolchain.releases import release_toolchain

_ARM64 = {"GOARCH": "arm64"}
MODES = {
    each.name: each
    for each in (
        Mode("arm64", environment=_ARM64),
        Mode("arm64-stripped", ldflags=("-s", "-w"), environment=_ARM64),
        Mode("arm64-pie", flags=("-buildmode=pie",), environment=_ARM64),
        Mode("arm64-noopt", flags=("-gcflags=all=-N -l",), environment=_ARM64),
    )
}


def build(go: str, mode: str = "arm64") -> Path:
    """sleepbench, by a release in a mode."""
    return build_one(release_toolchain(go), MODES[mode], "sleepbench", TRIED).path
