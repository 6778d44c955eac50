"""A program patched for a trial, checked, and undone again."""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import patcher
from nanonap.base.errors import NanonapError
from nanonap.toolchain.patched import Variant
from nanonap.trials.errors import CorpusChanged
from patcher.errors import NoRoom, UsesSynctest

#: Patching is one process's work on one processor: two at once would only take each other's time.
_TURN = threading.Lock()


def go_release(binary: Path) -> str:
    """The release that built a program, without "go". Raises what ``patcher.inspect`` raises."""
    with _TURN:
        version = patcher.inspect(binary).go.version
    return version.removeprefix("go")


def own_filters(binary: Path, wanted: frozenset[str]) -> frozenset[str]:
    """The packages that can set a system call filter, as ``patcher.inspect`` names them; none where none are wanted."""
    if not wanted:
        return frozenset()
    with _TURN:
        return frozenset(patcher.inspect(binary).filters.packages)


def patch_all(binaries: Sequence[Path], arm: Variant, folder: Path) -> tuple[Path, ...]:
    """Patch each program into ``folder`` (made here) under its own name, with links to what lies beside it.

    Raises what ``patcher.patch`` raises.
    """
    folder.mkdir(parents=True)
    done = []
    for binary in binaries:
        with _TURN:
            out = folder / binary.name
            patcher.patch(binary, out, arm.strategy, **arm.options, accept_thread_cost=True)
            out.chmod(0o755)
        done.append(out)
    for binary in binaries:  # tsgo, for one, looks for its libraries beside itself
        for sibling in binary.parent.iterdir():
            link = folder / sibling.name
            if not link.exists():
                link.symlink_to(sibling.absolute())
    return tuple(done)


def check_undone(binaries: Sequence[Path], patched: Sequence[Path]) -> None:
    """After the work: the patched files are as they were written, and give the originals back, byte for byte.

    Raises CorpusChanged, or what ``patcher.verify`` and ``patcher.revert`` raise.
    """
    for original, changed in zip(binaries, patched, strict=True):
        with _TURN:
            patcher.verify(changed)
            reverted = patcher.revert(changed, changed.with_name(changed.name + ".reverted"))
        if sha256(reverted.out) != sha256(original):
            raise CorpusChanged(f"{original.name}: reverting did not give the original back")
        reverted.out.unlink()


def sha256(path: Path) -> str:
    """A file's SHA-256, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_expected(refusal: NanonapError, arm: Variant, known: frozenset[str]) -> bool:
    """Whether README's limits, or the program's own row, foretell this refusal.

    ``known`` are the strategies and arms that are known not to fit the program. A program that never calls time.Sleep
    has nothing for ``sleep`` to change.
    """
    if isinstance(refusal, UsesSynctest | NoRoom) or {arm.strategy, arm.name} & known:
        return True
    return arm.strategy == "sleep" and "time.Sleep" in str(refusal)


def told(refusal: NanonapError) -> str:
    """A refusal for the table: its class and its words, without the folders of the program's path."""
    words = [Path(word).name if word.startswith("/") else word for word in str(refusal).split(" ")]
    return f"{type(refusal).__name__}: {' '.join(words)}"
