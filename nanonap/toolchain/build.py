"""The Go programs under gosrc/, built reproducibly into ``artifacts/build/<go version>/<mode>/<program>``."""

import hashlib
import itertools
import json
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nanonap.base.errors import DiskFull, UsageError
from nanonap.base.files import beside, write_text
from nanonap.base.paths import BUILD, GOSRC, TOOLCHAINS
from nanonap.base.terminal import messages
from nanonap.toolchain.big import big_files
from nanonap.toolchain.errors import BuildFailed, CannotRebuild, ModeImpossible
from nanonap.toolchain.go import Toolchain, binary_toolchain, local_toolchain
from nanonap.toolchain.locks import locked
from nanonap.toolchain.modes import MODES, Mode, chosen_modes
from nanonap.toolchain.profiles import PROFILED, profile
from nanonap.toolchain.progress import progress_bar
from nanonap.toolchain.releases import installed_releases, release_toolchain
from nanonap.toolchain.targets import AMD64, Target
from nanonap.toolchain.wheels import DEFAULT_GO

#: From Go 1.23 on the linker refuses runtime.usleep to programs (https://go.dev/doc/go1.23#linker).
_CHECKS_LINKNAME = (1, 23)

#: The program that is measured, and the one that starts it with less timer slack.
MEASURED, SLACKEXEC = "sleepbench", "slackexec"
BENCHED = ("rebuilt", "upstream")
"""The rivals that are arms of the bench."""


@dataclass(frozen=True)
class Built:
    """A built program: the Go release without "go", the mode, the program's name, its file and SHA-256 (hex)."""

    go_version: str
    mode: str
    program: str
    path: Path
    sha256: str

    def to_json(self) -> dict[str, str]:
        """The fields, the path as text."""
        return {**asdict(self), "path": str(self.path)}


def build(
    go: str = DEFAULT_GO,
    mode: str = "default",
    go_binary: Path | None = None,
    programs: Sequence[str] = ("sleepbench",),
    *,
    target: Target = AMD64,
    toolchains: Path = TOOLCHAINS,
    out: Path = BUILD,
) -> list[Built]:
    """Build each program with each toolchain in each mode; what is up to date is left alone.

    ``go``: a known release, several with commas, "all" of them, or "local" for the go on PATH; ``go_binary`` names
    a go binary to use instead. ``mode``: a name of ``MODES``, several with commas, or "all"; built for ``target``.
    Raises UsageError, DiskFull, OutputNotWritable and the errors of ``nanonap.toolchain.errors``.
    """
    modes = chosen_modes(mode, target=target)
    for program in programs:
        if not (GOSRC / program).is_dir():
            raise UsageError(f"{program}: no such program; choose from {', '.join(known_programs())}")
    jobs = itertools.product(chosen_toolchains(go, go_binary, toolchains), modes, programs)
    # "all" means what there is of each; a mode that is named says why it cannot be
    return _build_all((each for each in jobs if mode != "all" or each[0].language >= each[1].since), out)


def build_for_bench(
    go: str = DEFAULT_GO,
    go_binary: Path | None = None,
    *,
    target: Target = AMD64,
    toolchains: Path = TOOLCHAINS,
    out: Path = BUILD,
) -> list[Built]:
    """What the bench runs: sleepbench, the same with the runtimes that are rivals, and slackexec.

    A release that cannot be rebuilt is left without, which stderr says. Otherwise as ``build``.
    """
    needed = [(MODES["default"], MEASURED), (MODES["default"], SLACKEXEC)]
    needed += [(MODES[rival], MEASURED) for rival in BENCHED]
    needed = [(mode.on(target), program) for mode, program in needed]
    return _build_all(
        ((toolchain, *each) for toolchain in chosen_toolchains(go, go_binary, toolchains) for each in needed),
        out,
        spare_rivals=True,
    )


def _build_all(jobs: Iterable[tuple[Toolchain, Mode, str]], out: Path, *, spare_rivals: bool = False) -> list[Built]:
    """``spare_rivals``: a rival that cannot be built is told on stderr and left out."""
    built, jobs = [], list(jobs)
    with progress_bar() as bar:
        task = bar.add_task("building", total=len(jobs))
        for toolchain, mode, program in jobs:
            bar.update(task, description=f"building {program}, Go {toolchain.version}, {mode.name}")
            try:
                built.append(build_one(toolchain, mode, program, out))
            except (CannotRebuild, BuildFailed) as error:
                if not (spare_rivals and mode.rival):
                    raise
                messages().print(f"{program} is left out in mode {mode.name}: {error}", highlight=False, markup=False)
            bar.advance(task)
    return built


def known_programs() -> list[str]:
    """The names of the programs under gosrc/."""
    return sorted(folder.name for folder in GOSRC.iterdir() if folder.is_dir())


def chosen_toolchains(go: str, go_binary: Path | None, toolchains: Path = TOOLCHAINS) -> list[Toolchain]:
    """The toolchains that ``--go`` and ``--go-binary`` name, fetched where needed. Raises as ``build``."""
    if go_binary is not None:
        return [binary_toolchain(go_binary, toolchains)]
    if go == "local":
        return [local_toolchain(toolchains)]
    versions = installed_releases() if go == "all" else [version.strip() for version in go.split(",")]
    return [release_toolchain(version, toolchains) for version in dict.fromkeys(versions)]


def build_one(toolchain: Toolchain, mode: Mode, program: str, out: Path = BUILD) -> Built:
    """Build one program, unless the file there was made from the same inputs. Safe in several processes at once."""
    target = out / toolchain.version / mode.name / program
    stamp = target.with_name(f"{program}.stamp")
    inputs = inputs_sha256(toolchain, mode, program)
    if toolchain.language < mode.since:
        since = ".".join(map(str, mode.since))
        raise ModeImpossible(f"mode {mode.name} needs Go {since} or later, this is Go {toolchain.version}")
    with locked(target.with_name(f".{program}.lock")):
        sha256 = _up_to_date(target, stamp, inputs)
        if sha256 is None:
            _remove_remains(target, stamp)
            with beside(target) as temporary:
                _go_build(toolchain, mode, program, temporary, _guide(toolchain, mode, out))
                temporary.chmod(0o755)
            sha256 = _sha256(target)
            write_text(stamp, json.dumps({"inputs": inputs, "output": sha256}) + "\n")
    return Built(toolchain.version, mode.name, program, target, sha256)


def inputs_sha256(toolchain: Toolchain, mode: Mode, program: str) -> str:
    """SHA-256 (hex) of all that decides the output: the toolchain, the command's flags and the sources."""
    parts: list[object] = [toolchain.version, toolchain.identity, _flags(toolchain, mode), mode.environment]
    parts += [[path.name, content] for path, content in sorted(_overlaid(toolchain, mode, program).items())]
    for source in sorted((GOSRC / program).rglob("*")):
        if source.is_file():
            parts.append([str(source.relative_to(GOSRC)), _sha256(source)])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _up_to_date(target: Path, stamp: Path, inputs: str) -> str | None:
    """The output's SHA-256 if it is there, whole, and made from these inputs."""
    try:
        stamped = json.loads(stamp.read_text(encoding="ascii"))
        output = _sha256(target)
    except (OSError, ValueError):
        return None
    return output if stamped == {"inputs": inputs, "output": output} else None


def _remove_remains(target: Path, stamp: Path) -> None:
    """Remove what vouches for an older output, and what a killed run left half-written."""
    for remains in (stamp, *target.parent.glob(f".{target.name}*.part")):
        remains.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flags(toolchain: Toolchain, mode: Mode) -> list[str]:
    ldflags = list(mode.ldflags)
    if toolchain.language >= _CHECKS_LINKNAME:
        ldflags.append("-checklinkname=0")
    trimpath = ["-trimpath"] if mode.trimpath else []
    return [*trimpath, "-buildvcs=false", f"-ldflags={' '.join(ldflags)}", *mode.flags]


def _overlaid(toolchain: Toolchain, mode: Mode, program: str) -> dict[Path, str]:
    """The files that the mode adds or replaces: those of the program, and for a rival those of the runtime."""
    overlaid = {GOSRC / program / name: content for name, content in big_files().items()} if mode.big else {}
    if mode.rival:
        goroot = toolchain.root()
        overlaid |= {goroot / name: text for name, text in mode.rival(goroot, toolchain.version).items()}
    return overlaid


def _overlay(toolchain: Toolchain, mode: Mode, program: str, work: Path) -> list[str]:
    """The option that lays the mode's files over folders without writing there (``go help build``)."""
    overlaid = _overlaid(toolchain, mode, program)
    if not overlaid:
        return []
    for path, content in overlaid.items():
        (work / path.name).write_text(content, encoding="utf-8")
    replace = {str(path): str(work / path.name) for path in overlaid}
    (work / "overlay.json").write_text(json.dumps({"Replace": replace}), encoding="utf-8")
    return [f"-overlay={work / 'overlay.json'}"]


def _guide(toolchain: Toolchain, mode: Mode, out: Path) -> list[str]:
    """The option that names the profile of a profile-guided build; one profile serves a release's builds."""
    if not mode.profiled:
        return []
    taken = profile(out / toolchain.version, lambda: build_one(toolchain, MODES["default"], PROFILED, out).path)
    return [f"-pgo={taken.resolve()}"]


def _go_build(toolchain: Toolchain, mode: Mode, program: str, output: Path, guide: Sequence[str]) -> None:
    """Run ``go build`` at the release's own language version.

    The language version in go.mod also sets the defaults of GODEBUG (https://go.dev/doc/godebug): timers and
    GOMAXPROCS under a quota would be those of the oldest release. A go.mod of the release's own, for this build
    alone, gives what a program written for it gets.
    """
    with tempfile.TemporaryDirectory(prefix="nanonap-build-") as work:
        module = Path(work) / "go.mod"
        module.write_text(f"module nanonap\n\ngo {'.'.join(map(str, toolchain.language))}\n", encoding="ascii")
        command = [str(toolchain.go), "build", f"-modfile={module}", *_flags(toolchain, mode), *guide]
        command += _overlay(toolchain, mode, program, Path(work))
        answer = subprocess.run(
            [*command, "-o", str(output), f"./{program}"],
            cwd=GOSRC,
            env=toolchain.environment() | mode.environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if answer.returncode == 0:
        return
    if "no space left on device" in answer.stderr:
        raise DiskFull(f"{output.parent}: go build found no room for its output or cache; free some")
    said = [line.strip() for line in answer.stderr.splitlines() if line.strip() and not line.startswith("#")]
    reason = " | ".join(said[:4]) or "no reason given"
    raise BuildFailed(f"{program} with Go {toolchain.version}, mode {mode.name}: go build failed: {reason}")
