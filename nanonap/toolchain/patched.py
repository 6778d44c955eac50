"""The built programs with every strategy: the arms that the benchmark compares, laid out by release and mode."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from nanonap.base.errors import NanonapError
from nanonap.base.paths import BUILD, PATCHED
from nanonap.base.terminal import command
from nanonap.toolchain.build import SLACKEXEC
from nanonap.toolchain.modes import mode_of
from nanonap.toolchain.targets import Target
from patcher import RECOMMENDED_DENSE_NS, RECOMMENDED_QUANTUM_NS, RECOMMENDED_SPIN_NS, Patched, Wait, patch
from patcher.errors import UnsupportedGo
from patcher.patching import check_options
from patcher.strategies.table import STRATEGIES
from patcher.wait import PRECISE


class NothingBuilt(NanonapError):
    """There is no built program to patch."""

    exit_code = 38


class Options(TypedDict):
    """What ``patch`` takes beside the strategy."""

    slack_ns: int | None
    wait: Wait


@dataclass(frozen=True)
class Variant:
    """A way to patch a program; ``name`` is its arm's."""

    name: str
    strategy: str
    slack_ns: int | None
    wait: Wait = PRECISE

    @property
    def options(self) -> Options:
        """The keyword arguments of ``patch`` that this variant is made with."""
        return {"slack_ns": self.slack_ns, "wait": self.wait}


VARIANTS = (
    Variant("usleep", "usleep", None),
    Variant("sleep", "sleep", None),
    Variant("netpoll", "netpoll", None),
    Variant("netpoll+slack1", "netpoll", 1),
    Variant("netpoll+slack1+spin", "netpoll", 1, Wait(spin_ns=RECOMMENDED_SPIN_NS)),
    Variant("netpoll+slack1+quantum", "netpoll", 1, Wait(RECOMMENDED_QUANTUM_NS, RECOMMENDED_DENSE_NS)),
    Variant("stock+slack1", "slack", 1),
)


@dataclass(frozen=True)
class Outcome:
    """One program and variant: the patch, or why there is none."""

    program: Path
    variant: Variant
    patched: Patched | None
    refusal: NanonapError | None


def variants(strategy: str | None, slack_ns: int | None, wait: Wait = PRECISE) -> tuple[Variant, ...]:
    """All variants, or the one that options ask for. Raises UsageError for invalid options."""
    if strategy is None and slack_ns is None and not wait.asked:
        return VARIANTS
    chosen = strategy or "netpoll"
    check_options(chosen, slack_ns, wait)
    base = "stock" if chosen == "slack" else chosen
    name = (base if slack_ns is None else f"{base}+slack{slack_ns}") + wait.suffix
    return (Variant(name, chosen, slack_ns, wait),)


def built_programs() -> tuple[Path, ...]:
    """``artifacts/build/<go>/<mode>/<program>``: everything executable there but slackexec. Raises NothingBuilt."""
    executable = (each for each in BUILD.glob("*/*/*") if each.is_file() and each.stat().st_mode & 0o111)
    found = tuple(sorted(each for each in executable if each.name != SLACKEXEC))
    if not found:
        raise NothingBuilt(f"{BUILD}: no built program; run `{command('build')}` first")
    return found


def has_code(variant: Variant, target: Target) -> bool:
    """Whether its strategy has code for programs of that target."""
    return target.name in STRATEGIES[variant.strategy].isas


def variant_of(name: str) -> Variant:
    """The variant of that name."""
    return next(each for each in VARIANTS if each.name == name)


def patch_as(program: Path, variant: Variant, out: Path) -> Patched:
    """Patch a program into ``out``, replacing what is there. Raises what ``patch`` raises."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return patch(program, out, variant.strategy, **variant.options, accept_thread_cost=True, force=True)


def patch_built(strategy: str | None, slack_ns: int | None, wait: Wait = PRECISE) -> Iterator[Outcome]:
    """Patch every built program with every variant into ``artifacts/patched/``, replacing what is there.

    A variant that a program cannot have is told in its outcome; an error of another kind is raised.
    """
    chosen = variants(strategy, slack_ns, wait)
    for program in built_programs():
        folder = PATCHED / program.parent.relative_to(BUILD)
        # A rival's runtime is precise by itself; less timer slack is all that it can be given.
        mode = mode_of(program.parent.name)
        for variant in chosen:
            if mode is not None and mode.rival and variant.strategy != "slack":
                continue
            try:
                done = patch_as(program, variant, folder / f"{program.name}.{variant.name}")
            except UnsupportedGo as error:
                yield Outcome(program, variant, None, error)
            else:
                yield Outcome(program, variant, done, None)


def patch_quanta(program: Path, folder: Path, quanta: Sequence[tuple[int | None, int | None]]) -> list[Path]:
    """Patch a program with netpoll, 1 ns slack and each (quantum, dense), in ns or None, into ``folder``.

    For an experiment that draws the curve of CPU time and precision. The paths come in the order asked for. Raises what
    ``patch`` raises.
    """
    made = []
    for quantum_ns, dense_ns in quanta:
        (variant,) = variants("netpoll", 1, Wait(quantum_ns, dense_ns))
        out = folder / f"{program.name}.{variant.name}"
        made.append(patch(program, out, variant.strategy, **variant.options, force=True).out)
    return made
