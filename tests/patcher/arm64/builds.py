"""Go programs for linux/arm64, built here: the compiler makes code for any processor."""

from pathlib import Path

from nanonap.base.paths import TRIED
from nanonap.toolchain.build import build_one
from nanonap.toolchain.modes import MODES
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.targets import ARM64

#: Those that need no C compiler of its own.
NAMES = ("default", "stripped", "pie", "noopt")


def build(go: str, mode: str = "default") -> Path:
    """sleepbench, by a release in a mode."""
    return build_one(release_toolchain(go), MODES[mode].on(ARM64), "sleepbench", TRIED).path
