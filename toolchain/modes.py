"""The ways a program is built. Adding a mode is adding a row."""

import shutil
from dataclasses import dataclass, field

from nanonap.errors import UsageError
from nanonap.terminal import messages
from toolchain.errors import ModeImpossible


@dataclass(frozen=True)
class Mode:
    """``flags`` go to ``go build``, ``ldflags`` to its linker, ``environment`` over the toolchain's own.

    ``needs`` are the commands that must be on PATH.
    """

    name: str
    flags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The commands the mode needs and this machine lacks."""
        return [command for command in self.needs if shutil.which(command) is None]


MODES = {
    mode.name: mode
    for mode in (
        Mode("default"),
        Mode("stripped", ldflags=("-s", "-w")),
        Mode("pie", flags=("-buildmode=pie",)),
        # The C compiler links: .text is not the last section of its segment then.
        Mode("external", ldflags=("-linkmode=external",), environment={"CGO_ENABLED": "1"}, needs=("gcc",)),
    )
}


def chosen_modes(names: str) -> list[Mode]:
    """The modes of a comma-separated list, or for "all" every mode this machine can build, saying which it cannot.

    Raises UsageError for an unknown name, listing the known ones, and ModeImpossible for one whose needs are missing.
    """
    if names == "all":
        return _possible_modes()
    wanted = dict.fromkeys(name.strip() for name in names.split(","))
    for name in wanted:
        if name not in MODES:
            raise UsageError(f"--mode {name}: known are {', '.join(MODES)}, all")
        if missing := MODES[name].missing():
            raise ModeImpossible(f"--mode {name}: {_remedy(missing)}, or choose another mode")
    return [MODES[name] for name in wanted]


def _possible_modes() -> list[Mode]:
    for mode in MODES.values():
        if missing := mode.missing():
            messages().print(f"mode {mode.name} is left out: {_remedy(missing)}", highlight=False)
    return [mode for mode in MODES.values() if not mode.missing()]


def _remedy(missing: list[str]) -> str:
    return f"{', '.join(missing)} is not on PATH; install it"
