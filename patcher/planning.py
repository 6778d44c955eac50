"""What a strategy would do to a program, planned and proven: the code edits alone, for a file or a process.

The record to undo a patch by and a header that grows are a file's matter: ``patching`` adds them.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from nanonap.base.terminal import printable
from patcher.child import check_address_space
from patcher.edit.edit import Plan, Proof
from patcher.edit.room import Room
from patcher.errors import FakeTime, ProofFailed, ShapeMismatch, UnsupportedGo
from patcher.golang.buildinfo import Release
from patcher.golang.functions import MAIN, Functions
from patcher.golang.syscalls import EPOLL_WAITS
from patcher.isa.table import PLATFORMS
from patcher.recognise import refuse_patched
from patcher.strategies.strategy import Options
from patcher.strategies.table import SLACK, STRATEGIES

_OLDEST = Release(1, 19)
# How a plugin, and a library of -buildmode=shared, adds itself to the program that loads it (cmd/link/internal/ld).
_MODULES = ("go:link.addmoduledata", "go.link.addmoduledata")


def prove_plan(functions: Functions, strategy: str, room: Room, options: Options) -> tuple[tuple[Plan, ...], Proof]:
    """The plans of a patch, all proven. Raises what is wrong with the program, by its path, or with the proof."""
    plans = fit_plans(functions, strategy, room, options)
    return plans, prove_plans(functions, plans, options)


def fit_plans(functions: Functions, strategy: str, room: Room, options: Options) -> tuple[Plan, ...]:
    """The plans of a patch, of a program that can be patched. Raises what is wrong with it, by its path."""
    with _naming(functions.image.path):
        refuse_unfit(functions)
        return make_plans(functions, strategy, room, options)


def prove_plans(functions: Functions, plans: tuple[Plan, ...], options: Options) -> Proof:
    """All cases of all plans. Raises ProofFailed, or what is wrong with the program, by its path."""
    from patcher.proving import prove

    with _naming(functions.image.path):
        check_address_space()
        proofs = [prove(functions, each, options) for each in plans]
    return Proof(sum(each.cases for each in proofs), sum(each.passed for each in proofs))


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name before what a strategy or proof says, which knows functions and addresses."""
    try:
        yield
    except (ShapeMismatch, ProofFailed) as error:
        if str(error).startswith(printable(str(path))):
            raise
        raise type(error)(f"{path}: {error}") from error


def refuse_unfit(functions: Functions) -> None:
    """Refuse what no strategy may touch: our own patches, simulated clocks, plugins, releases before Go 1.19."""
    image = functions.image
    refuse_patched(functions)
    if "faketime" in image.build.tags:
        raise FakeTime(f"{image.path}: built with the faketime tag; its clock is simulated: there is nothing to patch")
    release = image.build.release
    if functions.table.before_119 if release is None else release < _OLDEST:
        version = "Go 1.18, by its function table" if release is None else image.build.version
        raise UnsupportedGo(
            f"{image.path}: built by {version}; Go 1.19 and later can be patched: build it with a newer Go, then patch"
        )
    mode = image.build.settings.get("-buildmode", "plugin" * image.shared_library)
    if mode == "plugin" and any(functions.all(name) for name in _MODULES):
        raise UnsupportedGo(
            f"{image.path}: a plugin; the scheduler that waits is that of the program that loads it: patch that program"
        )
    if not functions.all(MAIN):
        raise UnsupportedGo(
            f"{image.path}: none of its functions is {MAIN}: its names are obfuscated (by garble, perhaps), or its "
            "runtime is in another file (-linkshared); patch a build with its own runtime that is not obfuscated"
        )
    if "GOOS" not in image.build.settings:
        _refuse_unknown(functions)


def _refuse_unknown(functions: Functions) -> None:
    """Without build information the runtime itself must show what it was built for."""
    image = functions.image
    if image.data.find(b"runtime/time_fake.go\0") != -1:  # the file that the faketime tag compiles
        raise FakeTime(f"{image.path}: its runtime has a simulated clock (runtime/time_fake.go)")
    if not any(functions.all(name) for name in EPOLL_WAITS):
        raise UnsupportedGo(
            f"{image.path}: no build information names its system, and its runtime has no epoll; only programs for "
            f"{PLATFORMS} can be patched"
        )


def make_plans(functions: Functions, strategy: str, room: Room, options: Options) -> tuple[Plan, ...]:
    """The strategy's plan, and the slack's where one is asked for; ``room`` knows afterwards what they use."""
    wanted = [STRATEGIES[strategy]]
    if options.slack_ns is not None and strategy != SLACK.name:
        wanted.append(SLACK)
    return tuple(each.plan(functions, room, options) for each in wanted)
