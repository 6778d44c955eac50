"""A refusal says what the file is and what its owner can do, and shows no character that a terminal would obey."""

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import NanonapError
from patcher.errors import MalformedBinary, NotGo, UnsupportedGo, WrongArchitecture
from tests.conftest import BuildProgram
from tests.patcher.conftest import Invoke
from tests.patcher.mutate import refusal, write
from tests.patcher.programs import build
from tests.patcher.test_what_a_file_says import MAGIC, without_sections, written

OBFUSCATED = "obfuscated (by garble, perhaps)"
NO_SLEEP = """package main

import "time"

func main() { <-time.After(time.Millisecond) }
"""


@pytest.fixture
def nameless(build_program: BuildProgram, tmp_path: Path) -> Path:
    """A program without symbols and build information."""
    data = build_program("sleepbench", mode="stripped").read_bytes()
    return written(tmp_path / "program", data.replace(MAGIC, bytes(len(MAGIC))))


def function_table(path: Path) -> int:
    (found,) = re.finditer(re.escape(struct.pack("<IBBBB", 0xFFFFFFF1, 0, 0, 1, 8)), path.read_bytes())
    return found.start()


@pytest.mark.parametrize(("magic", "named"), [(0xFFFFFFFB, "Go 1.2 to 1.15"), (0xFFFFFFFA, "Go 1.16 or 1.17")])
def test_an_old_function_table_names_its_releases(nameless: Path, magic: int, named: str) -> None:
    write(nameless, function_table(nameless), struct.pack("<I", magic))
    for each in (nameless, without_sections(nameless)):
        said = refusal(each, "netpoll", UnsupportedGo)
        assert f"is that of {named}; Go 1.19 and later can be patched: build it with a newer Go, then patch" in said


def test_an_unknown_function_table_may_be_obfuscated(nameless: Path, program: Path) -> None:
    write(nameless, function_table(nameless), struct.pack("<I", 0x12345678))
    assert OBFUSCATED in refusal(nameless, "netpoll", UnsupportedGo)
    data = program.read_bytes().replace(struct.pack("<IBBBB", 0xFFFFFFF1, 0, 0, 1, 8), b"obscured")
    assert OBFUSCATED in refusal(without_sections(written(program, data)), "netpoll", NotGo)


def test_names_that_are_none_of_the_runtimes_are_obfuscated(nameless: Path, build_program: BuildProgram) -> None:
    for path in (nameless, build_program("sleepbench", mode="stripped")):
        garbled = written(nameless.with_name("garbled"), path.read_bytes().replace(b"runtime.", b"Xq9Zk2p."))
        for strategy in ("netpoll", "usleep"):
            assert OBFUSCATED in refusal(garbled, strategy, UnsupportedGo)
        seen = patcher.inspect(garbled).strategies["netpoll"]
        assert not seen.applies
        assert OBFUSCATED in str(seen.reason)


@pytest.mark.parametrize(
    ("machine", "order", "name"),
    [
        (258, 1, "loong64 (ELF machine 258)"),
        (243, 1, "riscv64 (ELF machine 243)"),
        (21, 2, "ppc64, big-endian (ELF machine 21)"),
        (9999, 1, "another processor (ELF machine 9999)"),
    ],
)
def test_another_processor_is_named(program: Path, machine: int, order: int, name: str) -> None:
    data = bytearray(program.read_bytes())
    data[5] = order
    data[18:20] = machine.to_bytes(2, "little" if order == 1 else "big")
    program.write_bytes(data)
    assert f"built for {name}, which is not supported yet" in refusal(program, "netpoll", WrongArchitecture)


def test_a_program_of_gccgos_is_go_with_another_runtime(tmp_path: Path) -> None:
    if shutil.which("gccgo") is None:
        pytest.skip("needs gccgo: apt-get install gccgo")
    (tmp_path / "main.go").write_text("package main\n\nfunc main() {}\n", encoding="ascii")
    for flags in ((), ("-static-libgo",), ("-static-libgo", "-s")):
        subprocess.run(["gccgo", *flags, "-o", tmp_path / "program", tmp_path / "main.go"], check=True)
        said = refusal(tmp_path / "program", "netpoll", UnsupportedGo)
        assert "built by gccgo, whose runtime is not that of the Go toolchain; build it with go build" in said


def test_a_program_that_never_calls_sleep_is_told_to_use_netpoll(tmp_path: Path) -> None:
    program = build(tmp_path / "small", NO_SLEEP)
    assert "never calls time.Sleep, so it has none to patch; use netpoll" in refusal(program, "sleep")
    patcher.patch(program, tmp_path / "out")


def test_what_patchelf_moved_is_read(build_program: BuildProgram, tmp_path: Path) -> None:
    """patchelf 0.14 puts a program header where the reserved section header was: the file runs as before."""
    if shutil.which("patchelf") is None:
        pytest.skip("needs patchelf: apt-get install patchelf")
    moved, out = tmp_path / "moved", tmp_path / "out"
    shutil.copy2(build_program("sleepbench", mode="pie"), moved)
    subprocess.run(["patchelf", "--set-rpath", "/nowhere", moved], check=True)
    patcher.patch(moved, out, slack_ns=1)
    subprocess.run([out, "-plan", "1us*3"], check=True, capture_output=True)
    patcher.verify(out)
    assert patcher.revert(out).out.read_bytes() == moved.read_bytes()


CLEAR = b"\x1b[2J"


def test_no_string_of_a_file_reaches_the_terminal_as_it_is(
    invoke: Invoke, build_program: BuildProgram, tmp_path: Path
) -> None:
    """Its version, the names of sections and functions, its own name."""
    data = build_program("sleepbench", mode="stripped").read_bytes()
    for old, new in {
        b"\x08go1.27.3": b"\x08go" + CLEAR + b"\n\r",
        b"\0.text\0": b"\0." + CLEAR + b"\0",
        b"runtime.sysmon\0": b"runtime." + CLEAR + b"\xc2\x9b\0",
    }.items():
        assert data.count(old) == 1
        data = data.replace(old, new)
    program = written(tmp_path / "a\nb\x1b[2Jc", data)
    out = tmp_path / "out\x1b[2J\n"
    answers = [
        invoke("inspect", program),
        invoke("patch", "--binary", program, "--out", out, "--slack-ns", "1"),
        invoke("verify", out),
        invoke("revert", out),
        invoke("patch", "--binary", program, "--out", out),
        invoke("verify", out),
    ]
    assert [each.status for each in answers] == [0, 0, 0, 0, 21, 26]
    for each in answers:
        assert not re.search(r"[^\n -~]", (each.out + each.err).replace("…", ""))
        assert "\\x1b[2J" in each.out + each.err
    assert [each.err.count("\n") for each in answers[4:]] == [1, 1]
    assert "go\\x1b[2J\\n\\r" in answers[0].out
    assert ".\\x1b[2J grows" in answers[1].out


def test_a_message_is_one_line_whatever_it_names() -> None:
    assert str(MalformedBinary("a\nb\x1b\u202e\udc80")) == "a\\nb\\x1b\\u202e\\udc80"
    assert issubclass(MalformedBinary, NanonapError)
