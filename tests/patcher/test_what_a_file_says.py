"""Which release and system a program is of: from its build information, else from what the runtime itself holds."""

import ctypes
import struct
import subprocess
from pathlib import Path

import pytest

import patcher
from nanonap.toolchain.releases import oldest_release
from patcher.errors import MalformedBinary, UnsupportedGo, WrongArchitecture
from patcher.golang.buildinfo import BuildInfo, Release
from patcher.golang.image import read_image
from tests.conftest import BuildProgram
from tests.patcher.mutate import refusal
from tests.patcher.programs import LIBRARY, SLEEPS, build

MAGIC = b"\xff Go buildinf:"
CGO = {"CGO_ENABLED": "1"}
EMBEDS = """package main

import (
	_ "embed"
	"time"
)

//go:embed other.bin
var other string

func main() {
	println(len(other))
	time.Sleep(time.Millisecond)
}
"""


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("go1.27.3", Release(1, 27)),
        ("go1.21", Release(1, 21)),
        ("go1.27.3 X:jsonv2,rangefunc", Release(1, 27)),
        ("go1.24.3-1-microsoft", Release(1, 24)),
        ("go1.20.1b7", Release(1, 20)),
        ("go1.26rc2", Release(1, 26, final=False)),
        ("go1.26beta1", Release(1, 26, final=False)),
        ("go1.26-devel_3f2ac46 Tue Jan 6 10:00:00 2026 X:jsonv2", Release(1, 26, final=False)),
        ("go1.26-20260109-RC01", Release(1, 26, final=False)),
        ("devel go1.28-abcdef Fri Jan 9 12:00:00 2026 +0000", Release(1, 28, final=False)),
        ("devel +abcdef Fri Jan 9 12:00:00 2026 +0000", None),
        ("unknown", None),
        ("go1.", None),
        ("go" + "9" * 5000 + ".1", None),
    ],
)
def test_a_version_names_its_release(version: str, release: Release | None) -> None:
    assert BuildInfo(version, {}).release == release


def test_a_pre_release_comes_before_its_release() -> None:
    assert Release(1, 18) < Release(1, 19, final=False) < Release(1, 19) < Release(1, 20, final=False)


def without_build_info(path: Path, name: str = "program") -> Path:
    """A copy whose build information cannot be found."""
    data = path.read_bytes()
    assert data.count(MAGIC) == 1
    return written(path.with_name(f"{name}.uninformed"), data.replace(MAGIC, bytes(len(MAGIC))))


def stripped(path: Path) -> Path:
    out = path.with_name(f"{path.name}.stripped")
    subprocess.run(["strip", "-o", out, path], check=True)
    return out


def without_sections(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, 40, 0)  # e_shoff
    struct.pack_into("<HHH", data, 58, 0, 0, 0)  # e_shentsize, e_shnum, e_shstrndx
    return written(path.with_name(f"{path.name}.sectionless"), data)


def written(path: Path, data: bytes | bytearray) -> Path:
    path.write_bytes(data)
    path.chmod(0o755)
    return path


def test_what_the_runtime_calls_itself_stands_in_for_missing_build_information(tmp_path: Path) -> None:
    program = build(tmp_path / "small", SLEEPS, "-ldflags=-X=runtime.buildVersion=go1.18.10")
    for each in (program, without_build_info(program)):
        assert "built by go1.18.10; Go 1.19 and later can be patched" in refusal(each, "netpoll", UnsupportedGo)
    pie = without_build_info(build(tmp_path / "pie", SLEEPS, "-buildmode=pie", "-ldflags=-X=runtime.buildVersion=mine"))
    assert patcher.patch(pie, tmp_path / "out").manifest.go.version == "mine"


@pytest.mark.long
def test_a_stripped_program_of_go_118_is_refused_without_build_information_too(
    build_program: BuildProgram, tmp_path: Path
) -> None:
    """Go 1.18 has the function table of 1.19, and no limiter of the collector's CPU time (runtime/mgclimit.go)."""
    if not oldest_release().startswith("1.19"):
        pytest.skip("needs Go 1.19: apt-get install golang-1.19-go")
    data = build_program("sleepbench", oldest_release(), "stripped").read_bytes().replace(MAGIC, bytes(len(MAGIC)))
    as_119 = written(tmp_path / "as_119", data)
    patcher.patch(as_119, tmp_path / "patched")
    as_118 = written(tmp_path / "as_118", data.replace(b"(*gcCPULimiterState)", b"(*anotherNamedState)"))
    assert "built by Go 1.18, by its function table" in refusal(as_118, "netpoll", UnsupportedGo)


def test_versions_that_differ_are_refused(program: Path) -> None:
    """The build information is altered; the runtime's own string is not."""
    data = bytearray(program.read_bytes())
    at = data.index(MAGIC) + 32 + 1
    assert data[at : at + 8] == b"go1.27.3"
    data[at : at + 8] = b"go1.21.9"
    program.write_bytes(data)
    said = refusal(program, "netpoll", MalformedBinary)
    assert "its build information says go1.21.9, its runtime.buildVersion says go1.27.3" in said


@pytest.mark.parametrize("mode", ["pie", "exe"])
def test_a_program_that_an_external_linker_made_needs_no_build_information(tmp_path: Path, mode: str) -> None:
    """In a PIE the function table lies in .data.rel.ro and has no section of its own in releases before 1.27."""
    flags = (f"-buildmode={mode}", "-ldflags=-linkmode=external")
    program = stripped(without_build_info(build(tmp_path / "small", SLEEPS, *flags, environment=CGO)))
    for each in (renamed(program), without_sections(program)):
        patcher.patch(each, tmp_path / "out", slack_ns=1, force=True)
        subprocess.run([tmp_path / "out"], check=True)


def renamed(path: Path) -> Path:
    """The function table's section by another name: no section is it then."""
    data = path.read_bytes()
    assert data.count(b".gopclntab\0") == 1
    return written(path.with_name("renamed"), data.replace(b".gopclntab\0", b".data.relr\0"))


@pytest.mark.long
def test_a_library_that_an_external_linker_made_needs_no_build_information(tmp_path: Path) -> None:
    library = without_build_info(build(tmp_path / "small", LIBRARY, "-buildmode=c-shared", environment=CGO))
    for each in (library, renamed(stripped(library))):
        out = tmp_path / f"{each.name}.so"
        patcher.patch(each, out)
        ctypes.CDLL(str(out)).Nap()
        assert "leave the slack out" in refusal_of_slack(each)
    plugin = without_build_info(build(tmp_path / "plugin", LIBRARY, "-buildmode=plugin", environment=CGO))
    assert "a plugin" in refusal(stripped(plugin), "netpoll", UnsupportedGo)


def refusal_of_slack(path: Path) -> str:
    with pytest.raises(UnsupportedGo) as refused:
        patcher.patch(path, path.with_name("no"), slack_ns=1)
    return str(refused.value)


@pytest.mark.parametrize("loader", ["/lib/ld64-uClibc.so.0", "/lib64/ld-lsb-x86-64.so.3", "/opt/ours/loader"])
def test_the_build_information_says_the_system_and_an_unknown_loader_says_none(tmp_path: Path, loader: str) -> None:
    program = build(tmp_path / "small", SLEEPS, "-buildmode=pie", f"-ldflags=-I {loader}")
    patcher.patch(program, tmp_path / "out")
    patcher.patch(without_build_info(program), tmp_path / "out", force=True)


def test_the_loader_of_another_system_says_so_where_there_is_no_build_information(tmp_path: Path) -> None:
    program = build(tmp_path / "small", SLEEPS, "-buildmode=pie", "-ldflags=-I /libexec/ld-elf.so.1")
    patcher.patch(program, tmp_path / "out")
    said = refusal(without_build_info(program), "netpoll", WrongArchitecture)
    assert "its dynamic linker is /libexec/ld-elf.so.1, which is freebsd's" in said


@pytest.mark.long
def test_an_embedded_program_does_not_say_what_it_is_embedded_in(build_program: BuildProgram, tmp_path: Path) -> None:
    """The other's build information stands first in the file, wherever a multiple of 16 falls."""
    other = read_image(build_program("sleepbench", "1.21.13"))
    section = other.section(".go.buildinfo")
    assert section is not None
    blob = other.data[section.offset : section.offset + section.size]
    assert b"go1.21.13" in blob
    folder = tmp_path / "small"
    embedded = b"".join(blob.ljust((len(blob) + 16) // 16 * 16 + 1, b"\0") for _ in range(16))
    program = build(folder, EMBEDS, besides={"other.bin": embedded})
    data = program.read_bytes()
    assert data.index(b"go1.21.13") < data.index(b"go1.27.3", data.rindex(MAGIC))
    for each in (program, stripped(program), without_sections(stripped(program))):
        assert patcher.patch(each, tmp_path / "out", force=True).manifest.go.version == "go1.27.3"
    subprocess.run([tmp_path / "out"], check=True, stderr=subprocess.DEVNULL)
