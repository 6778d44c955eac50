"""Every strategy finds its places in real binaries and changes nothing else."""

import functools
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import patcher
from nanonap.toolchain.go import wheel_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.edit.edit import Edit
from patcher.edit.room import Room
from patcher.errors import FakeTime, NoRoom, UnsupportedGo
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.golang.pclntab import Function
from patcher.patching import UNDO_RECORD
from patcher.planning import make_plans
from patcher.strategies.strategy import Options
from tests.conftest import BuildProgram
from tests.patcher.conftest import Build

LARGEST_RECORD = 640  # bytes; how much room a program's paddings have is chance
BUILDINFO_MAGIC = b"\xff Go buildinf:"
SLEEP_PATHS = ("runtime.netpoll", "time.Sleep", "runtime.usleep")
NEW_SYSCALLS = {
    ("netpoll", None): ("epoll_pwait2",),
    ("netpoll", 1): ("epoll_pwait2", "prctl"),
    ("sleep", None): ("clock_nanosleep",),
    ("usleep", None): ("clock_nanosleep",),
    ("slack", 50_000): ("prctl",),
}
WAITS = (patcher.Wait(quantum_ns=500_000), patcher.Wait(500_000, 32_768), patcher.Wait(spin_ns=40_000))
PLACES = {
    "netpoll": ["runtime.netpoll", "runtime.netpoll"],
    "sleep": ["time.Sleep"],
    "usleep": ["runtime.usleep", "(padding)"],
    "slack": ["(padding)", "(ELF header)"],
}


@pytest.mark.parametrize(("strategy", "slack_ns"), NEW_SYSCALLS)
def test_a_strategy_changes_its_places_and_nothing_else(
    build: Build, tmp_path: Path, strategy: str, slack_ns: int | None
) -> None:
    before, out = build.path.read_bytes(), tmp_path / "out"
    done = patcher.patch(build.path, out, strategy, slack_ns=slack_ns, accept_thread_cost=True)
    after, edits = out.read_bytes(), done.manifest.edits
    assert build.path.read_bytes() == before
    assert len(after) == len(before)
    assert done.manifest.new_syscalls == NEW_SYSCALLS[strategy, slack_ns]
    expected = PLACES[strategy] + (PLACES["slack"] if slack_ns and strategy != "slack" else [])
    if slack_ns and build.mode == "pie":  # its code ends in a table
        expected = ["_rt0_amd64_linux" if each == "(padding)" else each for each in expected]
    with_code = "(padding)" in expected
    carried = any(each.purpose == UNDO_RECORD for each in edits)
    assert carried or max(each.size for each in build.functions.image.paddings) < LARGEST_RECORD
    expected = expected + ["(padding)"] * carried
    headers = ["(program header)"] * ("(padding)" in expected)
    headers += ["(section header)"] * ("(padding)" in expected and (build.mode != "pie" or with_code))
    assert [each.function for each in edits] == [*expected, *headers]
    assert changed_offsets(before, after) <= covered_offsets(edits)
    assert len(covered_offsets(edits)) == sum(len(each.old) for each in edits)
    for edit in edits:
        assert len(edit.old) == len(edit.new) > 0
        assert before[edit.offset : edit.offset + len(edit.old)] == edit.old
        assert after[edit.offset : edit.offset + len(edit.new)] == edit.new
    assert subprocess.run([out, "-plan", "1us*3"], capture_output=True, check=True).stderr == b""


@pytest.mark.parametrize("wait", WAITS, ids=lambda each: each.suffix)
def test_the_options_of_netpoll_need_no_other_room(build: Build, tmp_path: Path, wait: patcher.Wait) -> None:
    precise, other = (
        patcher.patch(build.path, tmp_path / "out", force=True, wait=w).manifest.edits for w in (patcher.Wait(), wait)
    )
    assert [(each.function, each.offset, each.old) for each in precise[:2]] == [
        (each.function, each.offset, each.old) for each in other[:2]
    ]
    assert {each.purpose for each in other if each.function == "(padding)"} <= {UNDO_RECORD}
    assert precise[0].new != other[0].new
    assert subprocess.run([tmp_path / "out", "-plan", "1us*3"], capture_output=True, check=True).stderr == b""


def changed_offsets(before: bytes, after: bytes) -> set[int]:
    one, other = (np.frombuffer(each, np.uint8) for each in (before, after))
    return {int(each) for each in np.flatnonzero(one != other)}


def covered_offsets(edits: tuple[Edit, ...]) -> set[int]:
    return {offset for each in edits for offset in range(each.offset, each.offset + len(each.old))}


def test_edits_in_functions_lie_in_their_functions_and_others_in_free_bytes(build: Build) -> None:
    for strategy, slack_ns in NEW_SYSCALLS:
        room = Room(build.functions.image)
        plans = make_plans(build.functions, strategy, room, Options(slack_ns))
        for edit in (edit for plan in plans for edit in plan.edits):
            inside = build.functions.table.at(edit.address)
            if edit.function == "(padding)":
                assert not any(edit.old)
                assert inside is None or edit.address >= code_end(build.functions, inside)
            elif not edit.function.startswith("("):
                assert inside is not None
                assert inside.name == edit.function
                assert inside.start < edit.address < edit.end <= inside.end
        used_padding = any(edit.function == "(padding)" for plan in plans for edit in plan.edits)
        grown = [each.function for each in room.growth()]
        assert grown == ["(program header)", "(section header)"] * used_padding


def code_end(functions: Functions, function: Function) -> int:
    """Where the last segment that holds the function's code ends; the last function may reach into the padding."""
    return max(s.address + s.file_size for s in functions.image.segments if s.executable)


@pytest.mark.long
def test_addresses_are_those_of_the_toolchains_own_nm(build: Build) -> None:
    if build.mode == "stripped":
        assert build.functions.image.stripped
        return
    symbols = symbols_by_nm(build)
    for name in SLEEP_PATHS:
        expected = {symbols[each] for each in (name, f"{name}.abi0") if each in symbols}
        found = {each.start: each for each in build.functions.all(name)}
        assert set(found) == {address for address, _ in expected}
        for address, size in expected:
            assert found[address].start + size <= found[address].end
            assert not set(build.functions.image.read(address + size, found[address].end - address - size)) - {0xCC}


@pytest.mark.long
def test_every_function_of_nm_is_found_at_its_address(build: Build) -> None:
    if build.mode == "stripped":
        assert build.functions.image.stripped
        return
    compared = 0
    for name, (address, size) in symbols_by_nm(build).items():
        found = build.functions.table.at(address)
        if found is None or not size:  # the C compiler's own functions, and marks such as runtime.etext
            continue
        if found.start == address:
            assert found.name.replace("·", ".") == name.removesuffix(".abi0").removesuffix(".abiinternal")
            compared += 1
    assert compared > 1000


def symbols_by_nm(build: Build) -> dict[str, tuple[int, int]]:
    """Text symbols by ``go tool nm`` of the release itself: name → (address, size). Built offline where it has none."""
    return _symbols_by_nm(build.go, build.path)


@functools.cache
def _symbols_by_nm(go: str, path: Path) -> dict[str, tuple[int, int]]:
    toolchain = wheel_toolchain(go)
    answer = subprocess.run(
        [toolchain.go, "tool", "nm", "-size", path],
        env=toolchain.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    found = {}
    for line in answer.stdout.splitlines():
        address, size, kind, *names = line.split(maxsplit=3)
        if names and kind in "Tt":  # an undefined symbol has no address
            found[names[0]] = (int(address, 16), int(size))
    return found


def test_without_build_information_the_runtime_itself_says_what_it_is(
    build_program: BuildProgram, tmp_path: Path
) -> None:
    path, out = tmp_path / "program", tmp_path / "out"
    data = build_program("sleepbench", DEFAULT_GO, "stripped").read_bytes()
    assert data.count(BUILDINFO_MAGIC) == 1
    path.write_bytes(data.replace(BUILDINFO_MAGIC, bytes(len(BUILDINFO_MAGIC))))
    path.chmod(0o755)
    assert patcher.patch(path, out, "netpoll", slack_ns=1).manifest.go.version == "unknown"
    assert subprocess.run([out, "-plan", "1us*3"], capture_output=True, check=True).stderr == b""
    assert patcher.verify(out).proof.passed > 0
    patcher.patch(path, out, "sleep", accept_thread_cost=True, force=True)
    assert subprocess.run([out, "-plan", "1us*3"], capture_output=True, check=True).stderr == b""
    # What cannot be read from build information must be seen in the runtime: that it waits in epoll, by a true clock.
    blind = path.read_bytes().replace(b".EpollWait\0", b".Xpollwait\0")
    path.write_bytes(blind)
    with pytest.raises(UnsupportedGo, match="its runtime has no epoll"):
        patcher.patch(path, tmp_path / "no", "slack", slack_ns=1)
    nameless = data.replace(BUILDINFO_MAGIC, bytes(len(BUILDINFO_MAGIC)))
    path.write_bytes(nameless.replace(b"runtime/time_nofake.go", b"runtime/time_fake.go\0\0"))
    with pytest.raises(FakeTime, match="simulated clock"):
        patcher.patch(path, tmp_path / "no", "netpoll")


@pytest.mark.parametrize("slack_ns", [1, 1 << 40])
def test_without_a_free_byte_behind_the_code_the_slack_is_set_from_the_entrys_filler(
    build: Build, tmp_path: Path, slack_ns: int
) -> None:
    """Something that the headers do not name lies in every padding; usleep's stub then has no place."""
    full, out = tmp_path / "full", tmp_path / "out"
    data = bytearray(build.path.read_bytes())
    for padding in build.functions.image.paddings:
        data[padding.offset] = 1
    full.write_bytes(data)
    full.chmod(0o755)
    done = patcher.patch(full, out, "netpoll", slack_ns=slack_ns)
    edits = done.manifest.edits
    assert [each.function for each in edits[:2]] == ["runtime.netpoll"] * 2
    assert [each.function for each in edits[2:]] in (
        ["_rt0_amd64_linux", "(ELF header)"],
        ["main", "(ELF header)"],  # what the C compiler links
    )
    assert set(edits[2].old) == {0xCC}
    if slack_ns == 1:  # with the other every sleep may last a quarter of an hour
        ran = subprocess.run([out, "-plan", "1us*3"], capture_output=True, check=True)
        assert json.loads(ran.stdout.partition(b"\n")[0])["timer_slack_ns"] == 1
    with pytest.raises(NoRoom, match="are needed in the padding behind the code"):
        patcher.patch(full, tmp_path / "no", "usleep")


@pytest.mark.parametrize("strategy", PLACES)
def test_a_stripped_binary_gets_the_same_edits(build_program: BuildProgram, strategy: str) -> None:
    with_symbols, without = (
        Functions(read_image(build_program("sleepbench", DEFAULT_GO, mode))) for mode in ("default", "stripped")
    )
    assert not with_symbols.image.stripped
    assert without.image.stripped
    assert text_of(with_symbols) == text_of(without), "the two builds differ in their code; compare others"
    options = Options(1 if strategy == "slack" else None)
    with_room, without_room = Room(with_symbols.image), Room(without.image)
    assert make_plans(with_symbols, strategy, with_room, options) == make_plans(
        without, strategy, without_room, options
    )


def text_of(functions: Functions) -> tuple[int, bytes]:
    section = functions.image.section(".text")
    assert section is not None
    return section.address, functions.image.read(section.address, section.size)
