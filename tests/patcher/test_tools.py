"""Other people's tools say of a patched file what they say of the stock one, and what they make of it still runs."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import patcher
from nanonap.base.paths import TRIED
from nanonap.toolchain.build import build_one
from nanonap.toolchain.go import wheel_toolchain
from nanonap.toolchain.modes import Mode
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.edit.room import GROWS_ALONE
from tests.conftest import BuildProgram
from tests.patcher.tracing import named, traced
from tests.soon import soon

MODES = ("default", "stripped", "pie", "pie-stripped", "external", "cgo", "race")
LINKERS = ("gold", "lld", "mold")
LINKED = tuple(f"{linker}{way}" for linker in LINKERS for way in ("", "-static"))
# Some linkers leave no byte for usleep's stub.
PATCHES = [(each, "netpoll", 1) for each in (*MODES, *LINKED)] + [
    (each, "usleep", None) for each in ("default", "pie", "external", "gold")
]
QUICK = [place for place, each in enumerate(PATCHES) if each[0] != "race"]  # its standard library is compiled anew
PACKAGES = {"ld.lld": "lld", "ld.mold": "mold", "llvm-strip": "llvm", "eu-strip": "elfutils", "patchelf": "patchelf"}
READERS = ("eu-elflint --gnu-ld", "readelf -aW", "nm -D", "objdump -R", "patchelf --print-needed")
WRITERS = ("strip", "eu-strip", "llvm-strip", "patchelf --set-rpath /nowhere")
_NUMBERS = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{6,16}\b")


@dataclass(frozen=True)
class Pair:
    """A program as it was built, and a patch of it."""

    stock: Path
    done: patcher.Patched

    @property
    def unkept(self) -> set[bool]:
        """What lies in no section: the record (False), code (True)."""
        purposes = {each.purpose for each in self.done.manifest.edits}
        return {code for code, purpose in GROWS_ALONE.items() if purpose in purposes}


@pytest.fixture(scope="module", params=soon(PATCHES, *QUICK), ids=lambda each: f"{each[0]}-{each[1]}")
def pair(request: pytest.FixtureRequest, build_program: BuildProgram, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    name, strategy, slack_ns = request.param
    if lacking := [package for command, package in PACKAGES.items() if shutil.which(command) is None]:
        pytest.skip(f"needs other people's tools: apt-get install {' '.join(lacking)}")
    stock = build_program("sleepbench", mode=name) if name in MODES else linked(name)
    out = tmp_path_factory.mktemp("patched") / "program"
    return Pair(stock, patcher.patch(stock, out, strategy, slack_ns=slack_ns))


def linked(name: str) -> Path:
    """sleepbench as another linker lays it out."""
    linker, _, way = name.partition("-")
    options = f"-fuse-ld={linker}" + " -static" * (way == "static")
    ldflags = ("-linkmode=external", f"'-extldflags={options}'")
    mode = Mode(f"linked-{name}", ldflags=ldflags, environment={"CGO_ENABLED": "1"})
    return build_one(wheel_toolchain(DEFAULT_GO), mode, "sleepbench", TRIED).path


def said(command: str, path: Path) -> list[str]:
    """The status and all lines of a tool, without the file's name."""
    done = subprocess.run([*command.split(), path], capture_output=True, text=True, check=False)
    return [str(done.returncode), *(done.stdout + done.stderr).replace(str(path), "FILE").splitlines()]


@pytest.mark.parametrize("tool", READERS)
def test_a_tool_reads_a_patched_file_as_it_reads_the_stock_one(pair: Pair, tool: str) -> None:
    """What differs are numbers, in as many lines as headers were edited."""
    stock, patched = said(tool, pair.stock), said(tool, pair.done.out)
    assert len(stock) == len(patched)
    differing = [(one, other) for one, other in zip(stock, patched, strict=True) if one != other]
    assert [_NUMBERS.sub("N", one) for one, _ in differing] == [_NUMBERS.sub("N", other) for _, other in differing]
    headers = [each for each in pair.done.manifest.edits if each.function.endswith("header)")]
    assert len(differing) <= len(headers) * (tool == "readelf -aW")


@pytest.mark.parametrize("tool", WRITERS)
def test_what_a_tool_makes_of_a_patched_file_runs_patched(pair: Pair, tmp_path: Path, tool: str) -> None:
    stock, patched = (Path(shutil.copy2(each, tmp_path / each.name)) for each in (pair.stock, pair.done.out))
    assert said(tool, patched) == said(tool, stock)
    if True in pair.unkept and tool in ("strip", "eu-strip"):  # as the warning says
        return
    strategy, slack_ns = pair.done.manifest.strategy, pair.done.manifest.slack_ns
    if not runs(stock):  # patchelf breaks the stock program too
        return
    method, call = {"netpoll": ("sleep", "epoll_pwait2"), "usleep": ("usleep", "clock_nanosleep")}[strategy]
    run, threads = traced(tmp_path / "trace", patched, "-plan", "1us*3", "-method", method)
    assert named(threads, call)
    assert slack_ns is None or run.header["timer_slack_ns"] == slack_ns


def runs(path: Path) -> bool:
    return subprocess.run([path, "-plan", "1us*3"], capture_output=True, check=False).returncode == 0


def test_what_strip_would_lose_is_said(pair: Pair, tmp_path: Path) -> None:
    assert set(pair.done.warnings) == {GROWS_ALONE[each] for each in pair.unkept}
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", stripped, pair.done.out], check=True)
    content = stripped.read_bytes()
    lost = [each for each in pair.done.manifest.edits if each.function == "(padding)" and each.new not in content]
    assert bool(lost) == bool(pair.unkept)


def test_no_table_grows_for_the_record(pair: Pair) -> None:
    """A table of code grows by whole entries, and for code alone."""
    listing = subprocess.run(["readelf", "-SW", pair.done.out], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"\[ *\d+\] (\S+) +(\w+) +\w+ \w+ (\w+) (\w+)", listing)
    sections = {name: (kind, int(size, 16), int(entry, 16)) for name, kind, size, entry in rows}
    grown = [each.purpose.split()[0] for each in pair.done.manifest.edits if each.function == "(section header)"]
    for name in grown:
        kind, size, entry = sections[name]
        assert kind == "PROGBITS"
        assert not entry or (size % entry == 0 and pair.done.manifest.strategy == "usleep")
        assert name not in (".eh_frame", ".eh_frame_hdr")
