"""Arms of a user's own program: ways to change its file, or a process, by the bench's names or ``patch``'s options."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from select import select as ready_of
from typing import Protocol

import patcher
from nanonap.base.errors import NanonapError, UsageError
from nanonap.base.files import as_ours
from nanonap.base.terminal import command
from nanonap.lab.ab.cost import session_of
from nanonap.lab.ab.errors import NotStock, ServiceDied
from nanonap.lab.ab.service import BINARY, Ready, serving, words
from nanonap.lab.ab.store import STOCK
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.ground.watchdog import guard, guarded_folder
from nanonap.lab.plan.arms import CONTROL, PRECISE, select, sha256_of
from nanonap.lab.run.live import Change, change
from nanonap.toolchain.patched import VARIANTS, Variant, patch_as, variant_of, variants
from patcher.errors import AlreadyPatched
from patcher.live.errors import NoSuchProcess, NotInjected
from patcher.wait import Wait


def chosen_arms(text: str | None, strategy: str | None, slack_ns: int | None, wait: Wait) -> dict[str, Variant | None]:
    """The arms by name, stock first; None for the program as it is. ``control`` is stock once more.

    ``text``: as ``bench --arms`` takes them; the others are ``patch``'s options, which make one arm more. Without
    either: stock and PRECISE. Raises UsageError.
    """
    optional = strategy is not None or slack_ns is not None or wait.asked
    names = select(text) if text is not None else () if optional else (PRECISE,)
    known = {each.name for each in VARIANTS}
    if own := [name for name in names if name not in {STOCK, CONTROL, *known}]:
        raise UsageError(
            f"--arms {','.join(own)}: of the lab's own program; choose from {STOCK}, {CONTROL}, {', '.join(known)}"
        )
    found = {STOCK: None} | {name: variant_of(name) if name in known else None for name in names}
    if optional:
        found |= {each.name: each for each in variants(strategy, slack_ns, wait)}
    if len(found) < 2:
        raise UsageError(f"--arms {text}: nothing to compare with stock; name one more, as in {PRECISE}")
    return found


@dataclass(frozen=True)
class Target:
    """A service that is ready: how its end is seen, which processes it has, what was done to it."""

    ends: int
    pids: Callable[[], Sequence[int]]
    changes: list[Change] | None = None


class Subject(Protocol):
    """What is compared: an arm at a time."""

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of files, by arm."""
        ...

    @property
    def go(self) -> str | None:
        """The release that built it, None where that is not known."""
        ...

    def arm(self, name: str) -> contextlib.AbstractContextManager[Target]:
        """The service in that arm, ready for its load. Raises what is wrong with it."""
        ...


@dataclass(frozen=True)
class Files:
    """A copy of the program for every arm, alike but for the patch, each started anew."""

    command: list[str]
    files: dict[str, Path]
    hashes: dict[str, str]
    go: str | None
    ready: Ready
    within_s: float
    stop: Stop

    @contextlib.contextmanager
    def arm(self, name: str) -> Iterator[Target]:
        """Start it; SIGTERM afterwards. Raises PortTaken, ServiceDied, NeverReady, Interrupted."""
        argv = [word.replace(BINARY, str(self.files[name])) for word in self.command]
        with serving(argv, f"arm {name}", self.ready, self.within_s, self.stop) as child:
            yield Target(child.ends, lambda: session_of(child.process.pid))


@contextlib.contextmanager
def file_arms(
    binary: Path, run: str, arms: dict[str, Variant | None], ready: Ready, within_s: float, stop: Stop
) -> Iterator[Files]:
    """Make the copies, in a temporary folder that goes with the block. Raises what ``patch`` raises, and UsageError."""
    command = words("run", run)
    if not any(BINARY in word for word in command):
        raise UsageError(f"--run {run}: write {BINARY} where the program's file is to stand")
    seen = patcher.inspect(binary)  # refuses what is no Go program, before anything is copied
    if seen.patched is not None:
        raise AlreadyPatched(f"{binary}: patched already, and stock is needed to compare with; `revert` it first")
    with guarded_folder() as folder:
        files = {}
        for name, variant in arms.items():
            stop.check()
            files[name] = folder / name / binary.name
            files[name].parent.mkdir()
            if variant is not None:
                patch_as(binary, variant, files[name])
                continue
            try:
                shutil.copy2(binary, files[name])
            except OSError as error:
                raise as_ours(error, files[name]) from error
        yield Files(
            command,
            files,
            {name: sha256_of(path) for name, path in files.items()},
            seen.go.version,
            ready,
            within_s,
            stop,
        )


@dataclass(frozen=True)
class Process:
    """A running process, injected and ejected; ``guard_s`` passes after each switch before anything counts."""

    pid: int
    variants: dict[str, Variant | None]
    guard_s: float
    stop: Stop
    hashes: dict[str, str]
    go: str | None
    ends: int

    @contextlib.contextmanager
    def arm(self, name: str) -> Iterator[Target]:
        """Switch to it. Raises ServiceDied, Interrupted, and what ``inject`` raises."""
        variant = self.variants[name]
        try:
            changes = self.back()
            if variant is not None:
                changes += [change(self.pid, "inject", variant.slack_ns, variant.wait)]
        except NoSuchProcess as error:
            raise ServiceDied(f"arm {name}: {error}") from error
        until = time.monotonic() + self.guard_s
        while (left := until - time.monotonic()) > 0:
            self.stop.check()
            time.sleep(min(left, 0.2))
        yield Target(self.ends, lambda: [self.pid], changes)
        if ready_of([self.ends], [], [], 0)[0]:
            raise ServiceDied(f"arm {name}: process {self.pid} ended under its load")

    def back(self) -> list[Change]:
        """As it was found; of one that is so already, or gone, nothing."""
        try:
            return [change(self.pid, "eject")]
        except NotInjected:
            return []


@contextlib.contextmanager
def process_arms(pid: int, arms: dict[str, Variant | None], guard_s: float, stop: Stop) -> Iterator[Process]:
    """A running process, which is left as it was found, even when we are killed. Raises NotStock, UsageError."""
    for name, variant in arms.items():
        if variant is not None and variant.strategy != patcher.DEFAULT_STRATEGY:
            raise UsageError(f"arm {name}: a running process can have {patcher.DEFAULT_STRATEGY} alone; use --binary")
    found = patcher.status(pid)
    if found.state != "stock" or found.slack_set:
        raise NotStock(f"process {pid}: {found.state}, and a stock one is needed: {found.reason or 'eject it first'}")
    undo = [sys.executable, "-c", f"import patcher; patcher.eject({pid})"]
    ends = os.pidfd_open(pid)
    guard.watch_command(undo)
    try:
        process = Process(pid, arms, guard_s, stop, {}, found.go, ends)
        try:
            yield process
        finally:
            try:
                with contextlib.suppress(NoSuchProcess):
                    process.back()
            except NanonapError as error:  # the watchdog tries once more when this process ends
                raise type(error)(
                    f"{error}; process {pid} may still be injected: `{command('eject', str(pid))}`"
                ) from error
        guard.forget_command(undo)
    finally:
        os.close(ends)
