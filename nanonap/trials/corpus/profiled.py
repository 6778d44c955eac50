"""Programs of Go's own source, built with a profile in which the wait for the next timer is hot.

The compiler then copies runtime.netpoll into the scheduler (https://go.dev/doc/pgo), and with more inlining asked for
what that calls, too. The profile is that of a patched program, whose netpoll calls the kernel itself: of a stock one
chance decides what is hot enough.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nanonap.base.paths import TRIED
from nanonap.toolchain.build import build_one
from nanonap.toolchain.go import wheel_toolchain
from nanonap.toolchain.modes import MODES
from nanonap.toolchain.profiles import PROFILED, profile
from nanonap.trials.corpus.processes import Processes
from nanonap.trials.errors import CorpusIncomplete
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.golang.waits import NETPOLL, find_waits

#: {folder: what is built into it}, and the options beside the profile.
BUILT = {"profiled": ("go", "gofmt", "pprof"), "inlined": ("gofmt",)}
_OPTIONS = {"profiled": (), "inlined": ("-gcflags=all=-l=4",)}
_LIMIT_S = 1800


def build_profiled(
    release: str, processes: Processes, work: Path, out: Path, built: Mapping[str, Sequence[str]] = BUILT
) -> None:
    """Build programs of a release into the folders of ``out``, beside the profile that they were built with.

    Raises CorpusIncomplete with what went wrong.
    """
    toolchain = wheel_toolchain(release)

    def run(*command: str | Path, limit_s: float = _LIMIT_S) -> bytes:
        done = processes.run(command, cwd=work, environment=toolchain.environment(), limit_s=limit_s)
        if done.status != 0:
            said = " | ".join(done.text.strip().splitlines()[:3])
            what = " ".join([Path(command[0]).name, *map(str, command[1:2])])
            raise CorpusIncomplete(f"{what}, Go {release}: failed: {said}")
        return done.stdout

    (work / "go.mod").write_text(f"module profiled\n\ngo {'.'.join(map(str, toolchain.language))}\n", encoding="ascii")
    taken = profile(work, lambda: build_one(toolchain, MODES["default"], PROFILED, TRIED).path)
    for folder, names in built.items():
        kept = out / folder / "cpu.pprof"
        kept.parent.mkdir()
        kept.write_bytes(taken.read_bytes())
        options = ["-trimpath", "-buildvcs=false", f"-pgo={kept}", *_OPTIONS[folder]]
        for name in names:
            made = kept.with_name(name)
            run(toolchain.go, "build", *options, "-o", made, f"cmd/{name}")
            if {each.function.name for each in find_waits(Functions(read_image(made))).calls} == {NETPOLL}:
                raise CorpusIncomplete(f"{name}, Go {release}: built with the profile it waits where it did; try again")
