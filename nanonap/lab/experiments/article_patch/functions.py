"""The rows of ``article-patch`` on which functions there are: in programs, and in the runtime's source."""

import re
from collections.abc import Iterator
from pathlib import Path

import patcher
from nanonap.base.paths import TOOLCHAINS
from nanonap.lab.experiments.article_patch.runs import CLAIMED, FUNCTION, SOURCE, Row
from nanonap.lab.experiments.kit.base import Setting
from nanonap.toolchain.releases import SYSTEM, installed_releases, release_toolchain
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.golang.syscalls import EPOLL_WAITS, USLEEP
from patcher.golang.waits import NETPOLL

#: What there is instead: who makes the system call nanosleep, where an idle program waits, what programs call.
INSTEAD = (USLEEP, NETPOLL, "time.Sleep")
_DEFINED = re.compile(r"^(?:func |TEXT\s+(?:runtime)?·)nanosleep\b", re.MULTILINE)


def function_rows(setting: Setting) -> Iterator[Row]:
    """The function tables of the measured program and of each installed release's own `go`, and that release's source.

    A release that would have to be fetched is left out.
    """
    yield from _functions(setting, setting.program)
    for release in installed_releases(say=False):
        if release in SYSTEM or (TOOLCHAINS / release).is_dir():
            toolchain = release_toolchain(release)
            yield from _functions(setting, toolchain.go)
            yield source_row(toolchain.root(), toolchain.version)


def _functions(setting: Setting, program: Path) -> Iterator[Row]:
    setting.say(f"the functions of {program.name}")
    setting.stop.check()
    functions = Functions(read_image(program))
    calls = {each.function: each for each in patcher.inspect(program).syscalls}
    row = {"part": FUNCTION, "subject": program.name, "go": functions.image.build.version.removeprefix("go")}
    # The names of the table are also those of functions that stand nowhere but inlined in others.
    yield {**row, "tried": CLAIMED, "found": functions.table.has_prefix(CLAIMED)}
    wait = next((name for name in calls if name in EPOLL_WAITS), "")
    for name in INSTEAD:
        call = calls.get(wait if name == NETPOLL else name)
        told = {"number": call.number, "message": call.name} if call else {}
        yield {**row, "tried": name, "found": bool(functions.all(name)), **told}


def source_row(root: Path, version: str) -> Row:
    """Whether package runtime of the release in ``root`` defines it, in Go or in assembly."""
    row: Row = {"part": SOURCE, "subject": "runtime", "go": version, "tried": CLAIMED}
    files = sources(root / "src")
    if not files:
        return {**row, "missing": f"{root / 'src'} holds no source of package runtime; install the release again"}
    return {**row, "found": any(_DEFINED.search(each.read_text(encoding="utf-8")) for each in files)}


def sources(src: Path) -> list[Path]:
    """Every file of package runtime that a build for linux/amd64 may take, by its name; tests are left out.

    A name that ends in another system's or processor's is not taken (go/build, goodOSArchFile). Build constraints
    within the files are not read, so there are some more files than a build takes, and none fewer.
    """
    # The names of systems and processors: go/build has them in a list, these folders have a file for each.
    known = {each.stem.partition("_")[2] for each in src.glob("internal/go[oa]*/zgo[oa]*_*.go")}
    if not known:
        return []
    files = [*src.glob("runtime/*.go"), *src.glob("runtime/*.s")]
    return sorted(each for each in files if _may_be_built(each.stem, known - {"linux", "amd64"}))


def _may_be_built(stem: str, others: set[str]) -> bool:
    *_, before, last = ("", "", *stem.split("_")[1:])
    return last != "test" and last not in others and not (last == "amd64" and before in others)
