"""The built programs with every strategy: the arms that the benchmark compares, laid out by release and mode."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nanonap.errors import NanonapError
from nanonap.paths import BUILD, PATCHED
from patcher import Patched, patch
from patcher.errors import UnsupportedGo


class NothingBuilt(NanonapError):
    """There is no built program to patch."""

    exit_code = 38


@dataclass(frozen=True)
class Variant:
    """A way to patch a program; ``name`` is its arm's."""

    name: str
    strategy: str
    slack_ns: int | None


VARIANTS = (
    Variant("usleep", "usleep", None),
    Variant("sleep", "sleep", None),
    Variant("netpoll", "netpoll", None),
    Variant("netpoll+slack1", "netpoll", 1),
    Variant("stock+slack1", "slack", 1),
)


@dataclass(frozen=True)
class Outcome:
    """One program and variant: the patch, or why there is none."""

    program: Path
    variant: Variant
    patched: Patched | None
    refusal: NanonapError | None


def variants(strategy: str | None, slack_ns: int | None) -> tuple[Variant, ...]:
    """All variants, or the one that options ask for."""
    if strategy is None and slack_ns is None:
        return VARIANTS
    chosen = strategy or "netpoll"
    base = "stock" if chosen == "slack" else chosen
    return (Variant(base if slack_ns is None else f"{base}+slack{slack_ns}", chosen, slack_ns),)


def built_programs() -> tuple[Path, ...]:
    """``artifacts/build/<go>/<mode>/<program>``: everything executable there. Raises NothingBuilt."""
    found = tuple(sorted(each for each in BUILD.glob("*/*/*") if each.is_file() and each.stat().st_mode & 0o111))
    if not found:
        raise NothingBuilt(f"{BUILD}: no built program; run `invoke build` first")
    return found


def patch_built(strategy: str | None, slack_ns: int | None) -> Iterator[Outcome]:
    """Patch every built program with every variant into ``artifacts/patched/``, replacing what is there.

    A variant that a program cannot have is told in its outcome; an error of another kind is raised.
    """
    for program in built_programs():
        folder = PATCHED / program.parent.relative_to(BUILD)
        folder.mkdir(parents=True, exist_ok=True)
        for variant in variants(strategy, slack_ns):
            out = folder / f"{program.name}.{variant.name}"
            try:
                done = patch(
                    program, out, variant.strategy, slack_ns=variant.slack_ns, accept_thread_cost=True, force=True
                )
            except UnsupportedGo as error:
                yield Outcome(program, variant, None, error)
            else:
                yield Outcome(program, variant, done, None)
