"""Arms: files to run, and how a sleeper in them sleeps. How a file came to differ from another is not known here."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BadResult, NothingBuilt
from nanonap.errors import UsageError

PROGRAM = "sleepbench"
# arm → (suffix of the file under the patched folder, or None for the built file; sleepbench -method)
_ARMS: dict[str, tuple[str | None, str]] = {
    "stock": (None, "sleep"),
    "stock+slack1": ("stock+slack1", "sleep"),
    "usleep": ("usleep", "sleep"),
    "sleep": ("sleep", "sleep"),
    "netpoll": ("netpoll", "sleep"),
    "netpoll+slack1": ("netpoll+slack1", "sleep"),
    "floor": (None, "floor"),
    "floor+slack1": ("stock+slack1", "floor"),
}
ARM_NAMES = tuple(_ARMS)
PRECISE = "netpoll+slack1"
"""The arm that a user would take who wants short sleeps."""


@dataclass(frozen=True)
class Arm:
    """One thing to compare. ``strategy`` and ``slack_ns`` are None for a file as the Go toolchain made it."""

    name: str
    path: Path
    method: str
    strategy: str | None
    slack_ns: int | None
    go_version: str
    sha256: str


def in_order(arm: str) -> tuple[int, str]:
    """A sort key: arms in their canonical order, those of other versions of this tool after them."""
    return (ARM_NAMES.index(arm), arm) if arm in _ARMS else (len(ARM_NAMES), arm)


def floor_of(arm: str) -> str:
    """The floor that an arm is compared with: the one at the same timer slack."""
    return "floor+slack1" if arm.endswith("+slack1") else "floor"


def select(text: str | None) -> tuple[str, ...]:
    """Arm names from ``--arms a,b``, in the canonical order; all for None. Raises UsageError for unknown ones."""
    if text is None:
        return ARM_NAMES
    asked = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in asked if name not in _ARMS]
    if unknown or not asked:
        what = f"no such arm: {', '.join(unknown)}" if unknown else "--arms names no arm"
        raise UsageError(f"{what}; there are {', '.join(ARM_NAMES)}")
    return tuple(name for name in ARM_NAMES if name in asked)


def discover(
    build_root: Path,
    patched_root: Path,
    go_version: str,
    mode: str = "default",
    names: Sequence[str] = ARM_NAMES,
) -> list[Arm]:
    """The arms ``names`` as files of one Go version and build mode, hashed.

    Raises NothingBuilt for a file that is not there and BadResult for a manifest that cannot be read.
    """
    built = build_root / go_version / mode / PROGRAM
    if not built.is_file():
        raise NothingBuilt(f"{built}: not built yet; run `invoke build --go {go_version}` first")
    return [_arm(name, built, patched_root / go_version / mode, go_version) for name in names]


def _arm(name: str, built: Path, patched: Path, go_version: str) -> Arm:
    suffix, method = _ARMS[name]
    if suffix is None:
        return Arm(name, built, method, None, None, go_version, sha256_of(built))
    path = patched / f"{PROGRAM}.{suffix}"
    if not path.is_file():
        raise NothingBuilt(f"{path}: not patched yet; run `invoke patch` first, or leave {name} out with --arms")
    strategy, slack_ns = _from_manifest(path.with_name(f"{path.name}.patch.json"))
    return Arm(name, path, method, strategy, slack_ns, go_version, sha256_of(path))


def _from_manifest(manifest: Path) -> tuple[str, int | None]:
    try:
        fields = json.loads(manifest.read_text(encoding="utf-8"))
        strategy, slack_ns = fields["strategy"], fields["slack_ns"]
    except FileNotFoundError as error:
        raise NothingBuilt(f"{manifest}: missing beside its binary; run `invoke patch` again") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadResult(f"{manifest}: not a patch manifest ({error}); run `invoke patch` again") from error
    return str(strategy), None if slack_ns is None else int(slack_ns)


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
