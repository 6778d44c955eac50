"""Arms: files to run, and how a sleeper in them sleeps. How a file came to differ from another is not known here."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.errors import UsageError
from nanonap.base.terminal import command
from nanonap.lab.ground.errors import BadResult, NothingBuilt
from nanonap.toolchain.targets import AMD64, Target

PROGRAM, WRAPPER = "sleepbench", "slackexec"
CYCLICTEST = "cyclictest"
GODEBUG = "epollpwait2"
"""The setting of the GODEBUG variable that upstream proposes (golang/go pull 79872)."""

INJECTED = ("inject",)


@dataclass(frozen=True)
class _Source:
    """Where an arm's file is, and how it sleeps.

    ``suffix``: of the file under the patched folder, None for the file as built; ``mode``: the build mode;
    ``optional``: left out, with a note, where it cannot be had, unless it is named; ``live``: as Arm's.
    """

    suffix: str | None
    method: str = "sleep"
    mode: str = "default"
    optional: bool = False
    live: tuple[str, ...] = ()


_ARMS: dict[str, _Source] = {
    "stock": _Source(None),
    "stock+slack1": _Source("stock+slack1"),
    "stock+prctl": _Source(None, optional=True),
    "usleep": _Source("usleep"),
    "sleep": _Source("sleep"),
    "netpoll": _Source("netpoll"),
    "netpoll+slack1": _Source("netpoll+slack1"),
    "netpoll+slack1+quantum": _Source("netpoll+slack1+quantum", optional=True),
    "netpoll+slack1+spin": _Source("netpoll+slack1+spin", optional=True),
    "live": _Source(None, optional=True, live=INJECTED),
    "live+slack1": _Source(None, optional=True, live=INJECTED),
    "godebug": _Source(None, optional=True),
    "rebuilt": _Source(None, mode="rebuilt", optional=True),
    "rebuilt+slack1": _Source("stock+slack1", mode="rebuilt", optional=True),
    "upstream": _Source(None, mode="upstream", optional=True),
    "upstream+slack1": _Source("stock+slack1", mode="upstream", optional=True),
    "nanosleep": _Source(None, "nanosleep"),
    "sleep-then-spin": _Source(None, "sleep-then-spin"),
    "floor": _Source(None, "floor"),
    "floor+slack1": _Source("stock+slack1", "floor"),
    "cyclictest": _Source(None, CYCLICTEST, optional=True),
    "cyclictest+fifo": _Source(None, CYCLICTEST, optional=True),
    "control": _Source(None, "floor"),
}
ARM_NAMES = tuple(_ARMS)
DEFAULT_ARMS = (
    "stock", "stock+slack1", "usleep", "sleep", "netpoll", "netpoll+slack1", "rebuilt+slack1", "floor", "floor+slack1",
    "control",
)  # fmt: skip
"""What a bench of three minutes compares; `--full` and `--arms all` take every one."""
UPSTREAM = ("upstream", "upstream+slack1")
"""The runtime that Go's own developers plan, at either timer slack."""
PRECISE = "netpoll+slack1"
"""The arm that a user would take who wants short sleeps."""
QUANTUM, SPIN = f"{PRECISE}+quantum", f"{PRECISE}+spin"
"""The same with an opt-in: for many timers, and for few that must be on time."""
CONTROL = "control"
"""An idle raw sleep in every block, to see what the machine does by itself. Compared with nothing."""


@dataclass(frozen=True)
class Arm:
    """One thing to compare. ``strategy`` and ``slack_ns`` are None for a file as the Go toolchain made it.

    ``before`` are the words of the command before the program's: a wrapper that execs it. ``live``: what is done to
    each process before it is measured: "inject" (with ``slack_ns``), "eject".
    """

    name: str
    path: Path
    method: str
    strategy: str | None
    slack_ns: int | None
    go_version: str
    sha256: str
    before: tuple[str, ...] = ()
    live: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The command without the program's options."""
        return [*self.before, str(self.path)]

    @property
    def foreign(self) -> bool:
        """Whether it takes more than to run one program: such an arm stays outside containers and guests."""
        return bool(self.before or self.live) or self.method == CYCLICTEST


def in_order(arm: str) -> tuple[int, str]:
    """A sort key: arms in their canonical order, those of other versions of this tool after them."""
    return (ARM_NAMES.index(arm), arm) if arm in _ARMS else (len(ARM_NAMES), arm)


def floor_of(arm: str) -> str:
    """The floor that an arm is compared with: the one at the same timer slack."""
    return "floor+slack1" if "slack1" in arm.split("+") or arm == "stock+prctl" else "floor"


def select(text: str | None, *, every: bool = False, named: str | None = None) -> tuple[str, ...]:
    """Arm names from ``--arms a,b``, in the canonical order: DEFAULT_ARMS for None, all with ``every`` or for "all".

    ``named`` is ``--conditions``: the question of what precision costs adds UPSTREAM to the default.
    Raises UsageError for unknown ones.
    """
    if text == "all" or (text is None and every):
        return ARM_NAMES
    if text is None:
        more = UPSTREAM if named == "cost" else ()
        return tuple(name for name in ARM_NAMES if name in (*DEFAULT_ARMS, *more))
    asked = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in asked if name not in _ARMS]
    if unknown or not asked:
        what = f"no such arm: {', '.join(unknown)}" if unknown else "--arms names no arm"
        raise UsageError(f"{what}; choose from {', '.join(ARM_NAMES)}")
    return tuple(name for name in ARM_NAMES if name in asked)


def suffix_of(arm: str) -> str | None:
    """The variant that its file was patched as; None for the file as built."""
    return _ARMS[arm].suffix


def unpatched(
    build_root: Path, patched_root: Path, go_version: str, names: Sequence[str], target: Target = AMD64
) -> list[tuple[Path, str, Path]]:
    """Of the arms ``names``: each built program that is not patched yet, the variant wanted, and its place."""
    wanted: dict[Path, tuple[Path, str, Path]] = {}
    for source in (_ARMS[name] for name in names):
        inside = Path(go_version) / f"{target.prefix}{source.mode}"
        built, place = build_root / inside / PROGRAM, patched_root / inside / f"{PROGRAM}.{source.suffix}"
        if source.suffix is not None and built.is_file() and not place.is_file():
            wanted[place] = (built, source.suffix, place)
    return list(wanted.values())


def discover(
    build_root: Path,
    patched_root: Path,
    go_version: str,
    names: Sequence[str] = DEFAULT_ARMS,
    notes: list[str] | None = None,
    target: Target = AMD64,
) -> list[Arm]:
    """The arms ``names`` as files of one Go version, built for one target, hashed.

    With ``notes``, an optional arm that cannot be had is left out, and the note says why. Raises NothingBuilt for a
    file that is not there and BadResult for a manifest that cannot be read.
    """
    built = build_root / go_version / f"{target.prefix}default" / PROGRAM
    words = ["build", "--go", go_version, *([] if target == AMD64 else ["--arch", target.name])]
    if not built.is_file():
        raise NothingBuilt(f"{built}: not built yet; run `{command(*words)}` first")
    arms = []
    for name in names:
        try:
            arms.append(_arm(name, build_root / go_version, patched_root / go_version, go_version, target))
        except NothingBuilt as error:
            if notes is None or not _ARMS[name].optional:
                raise
            notes.append(f"arm {name} is left out: {error}")
    return arms


def _arm(name: str, built_root: Path, patched_root: Path, go_version: str, target: Target) -> Arm:
    source = _ARMS[name]
    if source.method == CYCLICTEST:
        return _cyclictest(name)
    folder = f"{target.prefix}{source.mode}"
    built = built_root / folder / PROGRAM
    if source.suffix is None:
        if not built.is_file():
            raise NothingBuilt(
                f"{built}: not built yet; run `{command('build', '--go', go_version, '--mode', source.mode)}`"
            )
        before = _before(name, built_root / f"{target.prefix}default" / WRAPPER, built)
        slack_ns = 1 if name in ("stock+prctl", "live+slack1") else None
        return Arm(name, built, source.method, None, slack_ns, go_version, sha256_of(built), before, source.live)
    path = patched_root / folder / f"{PROGRAM}.{source.suffix}"
    if not path.is_file():
        raise NothingBuilt(f"{path}: not patched yet; run `{command('patch')}` first, or leave {name} out with --arms")
    strategy, slack_ns = _from_manifest(path.with_name(f"{path.name}.patch.json"))
    return Arm(name, path, source.method, strategy, slack_ns, go_version, sha256_of(path))


def _before(name: str, wrapper: Path, built: Path) -> tuple[str, ...]:
    """The words before the program of arms that start it by another. Raises NothingBuilt where that cannot be had."""
    if name == "stock+prctl":
        if not wrapper.is_file():
            raise NothingBuilt(f"{wrapper}: not built yet; run `{command('build')}`")
        return (str(wrapper), "1")
    if name == "godebug":
        if GODEBUG.encode() not in built.read_bytes():
            raise NothingBuilt(f"this Go release does not know GODEBUG={GODEBUG}=1 (it is a proposal for a later one)")
        return ("env", f"GODEBUG={GODEBUG}=1")
    return ()


def _cyclictest(name: str) -> Arm:
    """An arm of the program cyclictest. Raises NothingBuilt where it is not installed, or may not have FIFO."""
    found = shutil.which(CYCLICTEST)
    if found is None:
        raise NothingBuilt("there is no cyclictest here; on Debian: apt-get install rt-tests")
    if name.endswith("+fifo") and not _may_fifo():
        raise NothingBuilt("SCHED_FIFO is not permitted here; run as root, or with CAP_SYS_NICE")
    return Arm(name, Path(found), CYCLICTEST, None, None, "none", sha256_of(Path(found)))


def _may_fifo() -> bool:
    """Whether this process may use SCHED_FIFO (sched(7)): tried in a child that does nothing else."""
    try:
        return subprocess.run(["chrt", "-f", "1", "true"], capture_output=True, check=False, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _from_manifest(manifest: Path) -> tuple[str, int | None]:
    try:
        fields = json.loads(manifest.read_text(encoding="utf-8"))
        strategy, slack_ns = fields["strategy"], fields["slack_ns"]
    except FileNotFoundError as error:
        raise NothingBuilt(f"{manifest}: missing beside its binary; run `{command('patch')}` again") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadResult(f"{manifest}: not a patch manifest ({error}); run `{command('patch')}` again") from error
    return str(strategy), None if slack_ns is None else int(slack_ns)


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
