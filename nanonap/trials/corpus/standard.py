"""The test binaries of Go's standard library: which, how they are built, and how one is run."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nanonap.base.files import beside
from nanonap.base.paths import ARTIFACTS
from nanonap.toolchain.go import Toolchain
from nanonap.toolchain.locks import locked
from nanonap.trials.corpus.processes import Processes
from nanonap.trials.corpus.verdicts import Suite, ending, read_events
from nanonap.trials.errors import CorpusIncomplete

STANDARD = ARTIFACTS / "corpus" / "std"
_BUILD_LIMIT_S = 600


@dataclass(frozen=True)
class Package:
    """A package of the standard library.

    ``nightly`` packages are left to the nightly list. ``limit_s`` is what a run may take, in seconds.
    """

    path: str
    nightly: bool = False
    limit_s: int = 600

    @property
    def file(self) -> str:
        """The test binary's name: ``net_http.test``."""
        return self.path.replace("/", "_") + ".test"


#: The longest first: two run at a time.
PACKAGES = (
    Package("runtime", nightly=True, limit_s=1800),
    Package("runtime/pprof"),
    Package("net"),
    Package("net/http"),
    Package("time"),
    Package("os/signal"),
    Package("sync"),
    Package("os/exec"),
    Package("context"),
    Package("internal/poll"),
    Package("testing/synctest"),
    Package("testing", nightly=True),
    Package("internal/synctest", nightly=True),
    Package("runtime/debug", nightly=True),
    Package("runtime/metrics", nightly=True),
    Package("runtime/trace", nightly=True),
)

#: Every package below these is tried at night, or named as left out with the reason.
_RUNTIME = ("runtime/...", "internal/runtime/...")


#: Why a package of the runtime has no row of its own; others that have none have no tests.
_LEFT_OUT = {
    "runtime/cgo": "has no tests of its own; those of cgo lie in the go command's tree and need a C compiler",
    "runtime/race": "its tests need the race detector's runtime (-race, cgo)",
}


class Standard:
    """The standard library of one toolchain, its test binaries under ``artifacts/corpus/std/<go>/``."""

    def __init__(self, toolchain: Toolchain, processes: Processes, out: Path = STANDARD) -> None:
        """Asks the go command where its tree is."""
        self.toolchain = toolchain
        self._processes = processes
        self._out = out / toolchain.version
        self._out.mkdir(parents=True, exist_ok=True)
        self._goroot = Path(self._go("env", "GOROOT").strip())

    @property
    def environment(self) -> dict[str, str]:
        """As ``go test`` runs a test: the toolchain's settings, its ``go`` first on PATH."""
        own = self.toolchain.environment()
        path = f"{self._goroot / 'bin'}{os.pathsep}{own.get('PATH', os.defpath)}"
        return own | {"PATH": path, "GOROOT": str(self._goroot)}

    def packages(self, nightly: bool) -> tuple[list[Package], dict[str, str]]:
        """The packages to try, and {package: reason} for those that are left out."""
        named = {each.path: each for each in PACKAGES if nightly or not each.nightly}
        here = self._tested([*named, *(_RUNTIME if nightly else ())])
        chosen = [each for each in named.values() if here.get(each.path)]
        chosen += [Package(path) for path, tested in here.items() if tested and path not in named]
        untested = [path for path, tested in here.items() if not tested and path not in named]
        reasons = (_LEFT_OUT if nightly else {}) | {path: _LEFT_OUT.get(path, "has no tests") for path in untested}
        reasons |= {path: f"not in Go {self.toolchain.version}" for path in named if not here.get(path)}
        return chosen, reasons

    def _tested(self, patterns: Sequence[str]) -> dict[str, bool]:
        """{package: whether it has tests} of those that match and exist."""
        form = '{"path":"{{.ImportPath}}","here":{{if .Error}}false{{else}}true{{end}},"tests":{{len .TestGoFiles}}'
        form += ',"outside":{{len .XTestGoFiles}}}'
        found = [json.loads(line) for line in self._go("list", "-e", "-f", form, *patterns).splitlines()]
        return {each["path"]: bool(each["tests"] + each["outside"]) for each in found if each["here"]}

    def build(self, package: Package, flags: Sequence[str] = (), folder: Path | None = None) -> Path:
        """The package's test binary by ``go test -c``. Raises CorpusIncomplete with what go said."""
        target = (folder or self._out) / package.file
        with locked(target.with_name(f".{target.name}.lock")), beside(target) as temporary:
            self._go("test", "-c", *flags, "-o", str(temporary), package.path)
            temporary.chmod(0o755)
        return target

    def run(self, package: Package, binary: Path, *, short: bool, only: str | None = None) -> Suite:
        """Run a test binary in the package's source folder, with a TMPDIR of its own.

        ``only`` is a pattern for ``-test.run``: then that runs alone. Examples and fuzz seeds run as tests do.
        """
        options = ["-test.v=test2json", "-test.paniconexit0", f"-test.timeout={package.limit_s}s"]
        options += ["-test.short"] * short
        options += [f"-test.run={only}"] if only else []
        source = self._goroot / "src" / package.path
        with tempfile.TemporaryDirectory(prefix="nanonap-", ignore_cleanup_errors=True) as temporary:
            ran = self._processes.run(
                [binary, *options],
                cwd=source,
                environment=self.environment | {"TMPDIR": temporary, "PWD": str(source)},
                limit_s=package.limit_s + 30,
                merged=True,
            )
        said = self._run([self._test2json], ran.stdout)
        return Suite(ending(ran.status, ran.timed_out, ran.text), read_events(said.splitlines()))

    @cached_property
    def _test2json(self) -> str:
        """The release's test2json, which the go command builds when it is first asked for."""
        self._go("tool", "test2json")  # on empty input
        return self._go("tool", "-n", "test2json").strip()

    def _go(self, *arguments: str) -> str:
        return self._run([str(self.toolchain.go), *arguments])

    def _run(self, command: list[str], stdin: bytes = b"") -> str:
        answer = self._processes.run(
            command,
            cwd=self._out,
            environment=self.toolchain.environment(),
            limit_s=_BUILD_LIMIT_S,
            stdin=stdin,
        )
        if answer.status != 0:
            said = " | ".join(answer.text.strip().splitlines()[:3])
            what = " ".join([Path(command[0]).name, *command[1:3]])
            raise CorpusIncomplete(f"{what}, Go {self.toolchain.version}: failed: {said}")
        return answer.stdout.decode("utf-8", "replace")
