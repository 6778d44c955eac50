"""The ways a program is built. Adding a mode is adding a row.

Every mode but ``untrimmed`` has ``-trimpath``, so that the folder of the source does not change the bytes.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from nanonap.base.errors import UsageError
from nanonap.base.terminal import messages
from nanonap.toolchain.bounded import SINCE as BOUNDED
from nanonap.toolchain.bounded import counted_files, saved_files
from nanonap.toolchain.errors import ModeImpossible
from nanonap.toolchain.rebuilt import rebuilt_files
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
    never means it.
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

    def missing(self) -> list[str]:
        """The commands the mode needs and this machine lacks."""
        return [command for command in self.needs if shutil.which(command) is None]


_CGO = {"CGO_ENABLED": "1"}
_GCC = ("gcc",)
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


def chosen_modes(names: str, *, big: bool = False) -> list[Mode]:
    """The modes of a comma-separated list, or for "all" every mode that this machine can build.

    Large programs belong to "all" only with ``big``. What is left out of "all" is said on stderr.

    Raises UsageError for an unknown name, listing the known ones, and ModeImpossible for one whose needs are missing.
    """
    if names == "all":
        return _possible_modes(big=big)
    wanted = dict.fromkeys(name.strip() for name in names.split(","))
    for name in wanted:
        if name not in MODES:
            raise UsageError(f"--mode {name}: unknown; choose from {', '.join(MODES)}, all")
        if missing := MODES[name].missing():
            raise ModeImpossible(f"--mode {name}: {_remedy(missing)}, or choose another mode")
    return [MODES[name] for name in wanted]


def _possible_modes(*, big: bool) -> list[Mode]:
    possible = []
    for mode in MODES.values():
        if missing := mode.missing():
            messages().print(f"mode {mode.name} is left out: {_remedy(missing)}", highlight=False)
        elif mode.rival:
            messages().print(
                f"mode {mode.name} is left out: it changes the runtime; name it to build it", highlight=False
            )
        elif mode.big and not big:
            messages().print(f"mode {mode.name} is left out: it takes long; name it to build it", highlight=False)
        else:
            possible.append(mode)
    return possible


def _remedy(missing: list[str]) -> str:
    return f"{', '.join(missing)} is not on PATH; install it"
