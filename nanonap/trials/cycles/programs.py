"""What is injected into: gosrc/churn in every release and mode, and one whose wait lies in two pages."""

from dataclasses import replace
from pathlib import Path

from nanonap.base.paths import TRIED
from nanonap.toolchain.build import build_one
from nanonap.toolchain.go import Toolchain
from nanonap.toolchain.modes import MODES
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.targets import AMD64, Target
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.live.script import PAGE
from patcher.live.spots import Spot, spots_of

PROGRAM = "churn"
CROSSING = "crossing"
_ALIGNED = 64  # bytes: of the Go code that the C linker places


def program(go: str, mode: str, target: Target = AMD64) -> Path:
    """The program's file, built where it is not there. Raises as ``build_one``."""
    toolchain = release_toolchain(go)
    if mode == CROSSING:
        return _crossing(toolchain, target)
    return build_one(toolchain, MODES[mode].on(target), PROGRAM, TRIED).path


def _crossing(toolchain: Toolchain, target: Target) -> Path:
    """The externally linked program, its text moved so far that the wait crosses a page, and no entry of it does."""
    external = MODES["external"].on(target)
    image = read_image(build_one(toolchain, external, PROGRAM, TRIED).path)
    text, (spot, *_) = image.section(".text"), spots_of(Functions(image))
    if text is None:
        raise AssertionError("the C linker makes a section .text")
    shift = next(each for each in range(_ALIGNED, PAGE, _ALIGNED) if _crosses(spot, each))
    flag = f"-extldflags=-Wl,-Ttext={text.address + shift:#x}"
    mode = replace(external, name=f"{target.prefix}{CROSSING}", ldflags=(*external.ldflags, flag))
    return build_one(toolchain, mode, PROGRAM, TRIED).path


def _crosses(spot: Spot, shift: int) -> bool:
    whole = all((at + shift) // PAGE == (at + shift + size - 1) // PAGE for at, size in spot.site.entries)
    return whole and (spot.low + shift) // PAGE != (spot.high + shift - 1) // PAGE
