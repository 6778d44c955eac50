"""Which cells there are: a Go release in a build mode."""

from dataclasses import dataclass

from nanonap.base.errors import UsageError
from nanonap.toolchain.modes import Mode, chosen_modes, mode_of
from nanonap.toolchain.patched import VARIANTS, Variant, has_code
from nanonap.toolchain.releases import full_version, installed_releases, known_releases
from nanonap.toolchain.targets import AMD64, Target


@dataclass(frozen=True)
class Cell:
    """A Go release without "go" (``1.27.3``) in a build mode, as ``mode_of`` takes it: ``pie``, ``arm64-pie``."""

    release: str
    mode: str

    @property
    def name(self) -> str:
        """As in ``1.27.3-pie``."""
        return f"{self.release}-{self.mode}"


def built_as(cell: Cell) -> Mode:
    """A cell's mode, for its target. Raises LookupError."""
    mode = mode_of(cell.mode)
    if mode is None:
        raise LookupError(cell.mode)
    return mode


def variants_for(target: Target) -> tuple[Variant, ...]:
    """The arms of a cell: all that have code for the target; of another processor's those without opt-ins."""
    return tuple(each for each in VARIANTS if has_code(each, target) and (target.here or not each.wait.asked))


def chosen_cells(go: str, mode: str, target: Target = AMD64) -> list[Cell]:
    """The cells of two comma-separated lists, or "all": releases in their order, and in each the modes.

    With ``mode`` "all" the mode that takes long to build is in the oldest and the newest release alone.
    Raises UsageError, ModeImpossible.
    """
    releases = installed_releases() if go == "all" else _named_releases(go)
    modes = chosen_modes(mode, big=True, target=target)
    if rivals := [each.name for each in modes if each.rival]:
        raise UsageError(f"--mode {', '.join(rivals)}: its runtime needs no patch, so there is nothing to try")
    return [Cell(release, each.name) for release in releases for each in modes if _wanted(each, mode, release)]


def language(release: str) -> tuple[int, int]:
    """``(1, 27)`` of 1.27.3."""
    major, minor = release.split(".")[:2]
    return int(major), int(minor)


def _wanted(mode: Mode, asked: str, release: str) -> bool:
    ends = installed_releases(say=False)
    if asked == "all" and language(release) < mode.since:
        return False
    return not mode.big or asked != "all" or release in (ends[0], ends[-1])


def _named_releases(go: str) -> list[str]:
    releases = list(dict.fromkeys(full_version(each.strip()) for each in go.split(",")))
    if unknown := [each for each in releases if each not in known_releases()]:
        raise UsageError(f"--go {', '.join(unknown)}: unknown; choose from {', '.join(known_releases())}, all")
    return releases
