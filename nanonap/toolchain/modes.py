"""The ways a program is built. Adding a mode is adding a row.

Every mode but ``untrimmed`` has ``-trimpath``, so that the folder of the source does not change the bytes.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from nanonap.base.errors import UsageError
from nanonap.base.terminal import messages
from nanonap.toolchain.bounded import SINCE as BOUNDED
from nanonap.toolchain.bounded import counted_files, saved_files
from nanonap.toolchain.errors import ModeImpossible
from nanonap.toolchain.rebuilt import rebuilt_files
from nanonap.toolchain.targets import AMD64, TARGETS, Target
from nanonap.toolchain.upstream import upstream_files
from nanonap.toolchain.wakep import SINCE, needed_files, queued_files

#: Of a GOROOT and its release: what to lay over it, path within it → content.
Overlay = Callable[[Path, str], dict[str, str]]


@dataclass(frozen=True)
class Mode:
    """``flags`` go to ``go build``, ``ldflags`` to its linker, ``environment`` over the toolchain's own.

    ``needs`` are the commands that must be on PATH. ``trimpath`` False leaves the source's folder in the binary.
    ``big`` adds the files of ``nanonap.toolchain.big``; such a mode is built when it is named, and not by "all".
    ``profiled`` builds with a profile of the waiting runtime (``toolchain.profiles``), from the release ``since`` on.
    ``rival`` changes the runtime: a program to measure against, which is no way that users build theirs, so "all"
    never means it. ``target``: what its programs are built for; a mode of MODES is for AMD64, ``on`` gives the others.
    """

    name: str
    flags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    trimpath: bool = True
    big: bool = False
    rival: Overlay | None = None
    profiled: bool = False
    since: tuple[int, int] = (1, 19)
    target: Target = AMD64

    def on(self, target: Target) -> "Mode":
        """The same mode for a target. Raises ModeImpossible."""
        if self.big and target != AMD64:
            raise ModeImpossible(f"--mode {self.name}: the functions that it adds are {AMD64.name}'s machine code")
        return replace(
            self,
            name=f"{target.prefix}{self.name}",
            environment=self.environment | target.environment,
            needs=tuple(target.compiler if each == AMD64.compiler else each for each in self.needs),
            target=target,
        )

    def missing(self) -> list[str]:
        """The commands the mode needs and this machine lacks."""
        return [command for command in self.needs if shutil.which(command) is None]


_CGO = {"CGO_ENABLED": "1"}
_GCC = (AMD64.compiler,)
_PGO = (1, 21)  # https://go.dev/doc/go1.21#compiler

MODES = {
    mode.name: mode
    for mode in (
        Mode("default"),
        Mode("stripped", ldflags=("-s", "-w")),
        Mode("pie", flags=("-buildmode=pie",)),
        Mode("pie-stripped", flags=("-buildmode=pie",), ldflags=("-s", "-w")),
        # The C compiler links: .text is not the last section of its segment then.
        Mode("external", ldflags=("-linkmode=external",), environment=_CGO, needs=_GCC),
        # With no C but the standard library's (net, runtime/cgo), Go's own linker links against libc.
        Mode("cgo", environment=_CGO, needs=_GCC),
        Mode("race", flags=("-race",), environment=_CGO, needs=_GCC),
        Mode("noopt", flags=("-gcflags=all=-N -l",)),
        Mode("untrimmed", trimpath=False),
        Mode("big", big=True),
        Mode("big-stripped", ldflags=("-s", "-w"), big=True),
        # The compiler inlines what the profile shows to be hot: runtime.netpoll into its caller.
        Mode("pgo", profiled=True, since=_PGO),
        Mode("pgo-stripped", ldflags=("-s", "-w"), profiled=True, since=_PGO),
        Mode("rebuilt", rival=rebuilt_files),
        Mode("upstream", rival=upstream_files),
        Mode("wakep-queued", rival=queued_files, since=SINCE),
        Mode("wakep-needed", rival=needed_files, since=SINCE),
        *(Mode(f"counted-{each}", rival=partial(counted_files, each), since=BOUNDED) for each in (1_250, 10_000)),
        Mode("saved-5000", rival=partial(saved_files, 5_000), since=BOUNDED),
    )
}


def mode_of(name: str) -> Mode | None:
    """The mode, for whichever target, that a folder of built programs is named after; None where there is none."""
    found = (each for each in TARGETS.values() if name.startswith(each.prefix) and name[len(each.prefix) :] in MODES)
    target = max(found, key=lambda each: len(each.prefix), default=None)
    return None if target is None else MODES[name[len(target.prefix) :]].on(target)


def chosen_modes(names: str, *, big: bool = False, target: Target = AMD64) -> list[Mode]:
    """The modes of a comma-separated list, or for "all" every mode that this machine can build for the target.

    Large programs belong to "all" only with ``big``. What is left out of "all" is said on stderr.

    Raises UsageError for an unknown name, listing the known ones, and ModeImpossible for one whose needs are missing.
    """
    if names == "all":
        return _possible_modes(big=big, target=target)
    wanted = dict.fromkeys(name.strip() for name in names.split(","))
    chosen = []
    for name in wanted:
        if name not in MODES:
            raise UsageError(f"--mode {name}: unknown; choose from {', '.join(MODES)}, all")
        mode = MODES[name].on(target)
        if missing := mode.missing():
            raise ModeImpossible(f"--mode {name}: {_remedy(missing, target)}, or choose another mode")
        chosen.append(mode)
    return chosen


def _possible_modes(*, big: bool, target: Target) -> list[Mode]:
    possible = []
    for mode in MODES.values():
        try:
            for_target = mode.on(target)
        except ModeImpossible as error:
            _say(f"mode {mode.name} is left out: {str(error).partition(': ')[2]}")
            continue
        if missing := for_target.missing():
            _say(f"mode {mode.name} is left out: {_remedy(missing, target)}")
        elif mode.rival:
            _say(f"mode {mode.name} is left out: it changes the runtime; name it to build it")
        elif mode.big and not big:
            _say(f"mode {mode.name} is left out: it takes long; name it to build it")
        else:
            possible.append(for_target)
    return possible


def _say(text: str) -> None:
    messages().print(text, highlight=False)


def _remedy(missing: list[str], target: Target) -> str:
    how = f"install it (Debian: {' '.join(target.packages)})" if target.compiler in missing else "install it"
    return f"{', '.join(missing)} is not on PATH; {how}"
