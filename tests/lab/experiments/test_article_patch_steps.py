"""article-patch: the readers of its steps, and what its steps do with tools and copies that are broken."""

import json
import resource
import stat
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import polars as pl
import pytest

from nanonap.lab.experiments.article_patch.experiment import ArticlePatch
from nanonap.lab.experiments.article_patch.functions import source_row, sources
from nanonap.lab.experiments.article_patch.number import QUIETLY, counts, ran
from nanonap.lab.experiments.article_patch.patchelf import code_at, patchelf_rows
from nanonap.lab.experiments.article_patch.runs import QUICK, SCHEMA, run_copy
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.run.runner import COLUMNS
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.golang.image import read_image
from tests.conftest import BuildProgram


def test_calls_and_answers_are_read_from_what_strace_writes() -> None:
    found = counts(
        '7 mq_unlink("") = -1 ENOENT (No such file or directory)\n'
        '8 mq_unlink("" <unfinished ...>\n'
        "7 epoll_pwait(5, [], 128, 1, NULL, 0)    = 0\n"
        "7 epoll_pwait(5,  <unfinished ...>\n"
        "8 <... mq_unlink resumed>)          = -1 EFAULT (Bad address)\n"
        "7 <... epoll_pwait resumed>[], 128, 2, NULL, 0) = 0\n"
        "7 epoll_pwait(5, [], 128, 0, NULL, 0)    = 0\n"
        "9 nanosleep({tv_sec=0, tv_nsec=20000}, NULL) = 0\n"
        "8 mq_unlink(0x1 <unfinished ...>)         = ?\n"
        '8 mq_unlink("")                     = 231\n'
    )
    assert (found["mq_unlink"], found["nanosleep"], found["clock_nanosleep"]) == (4, 1, 0)
    assert found["epoll_waits"] == 2, "a poll that does not wait is no wait"
    assert found["results"] == "-1 EFAULT, -1 ENOENT"


def test_code_is_found_by_program_headers_alone(build_program: BuildProgram) -> None:
    image = read_image(build_program("sleepbench"))
    text = image.section(".text")
    assert text is not None
    data = image.data[0 : len(image.data)]
    assert code_at(data, text.address, text.size) == image.read(text.address, text.size)
    assert code_at(data, 0x10, 4) == b""
    for cut in (0, 50, 200, text.offset + 1):
        assert code_at(data[:cut], text.address, text.size) == b"", "such a file has no code, rather than another"


class MakePatchelf(Protocol):
    """Put a shell script in patchelf's place."""

    def __call__(self, *lines: str) -> None: ...


@pytest.fixture
def make_patchelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePatchelf:
    def make(*lines: str) -> None:
        script(tmp_path / "bin" / "patchelf", *lines)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    return make


def script(path: Path, *lines: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(("#!/bin/sh", *lines, "")), encoding="ascii")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def another_patchelf(make_patchelf: MakePatchelf, build_program: BuildProgram) -> None:
    """A program of that name which does edit code: the last byte of .text."""
    text = read_image(build_program("sleepbench")).section(".text")
    assert text is not None
    options = r"  [--set-rpath RPATH]\n  [--set-code CODE]\n  [--set-execstack]\n  [--debug]"
    make_patchelf(
        f'case $1 in --version) echo "patchelf 9" ;; --help) printf "{options}\\n" ;;',
        '*) for file; do :; done; printf "\\001" |',
        f'dd of="$file" bs=1 seek={text.offset + text.size - 1} conv=notrunc 2>&- ;; esac',
    )


@pytest.mark.usefixtures("another_patchelf")
def test_a_tool_that_edits_code_is_found_out(setting: Setting, tmp_path: Path) -> None:
    rows = list(patchelf_rows(setting, replace(QUICK, modes=()), tmp_path))
    tried = [each for each in rows if each["part"] == "patchelf"]
    assert all(each["changed"] and not each["code_same"] for each in tried)
    options = {each["tried"]: each.get("found") for each in rows if each["part"] == "patchelf option"}
    assert options == {"--set-rpath": False, "--set-code": None, "--set-execstack": False, "--debug": False}
    assert [each["tried"] for each in tried] == ["--set-rpath /nonexistent", "--set-execstack"]
    data = pl.DataFrame(rows, schema=SCHEMA)
    (found,) = ArticlePatch().judge(data)
    assert found.figures["patchelf"]["does"]
    (table,) = ArticlePatch().tables(data)
    assert table.notes[-2].startswith("not tried") and table.notes[-2].endswith(": --debug")
    assert table.notes[-1].startswith("not tried") and table.notes[-1].endswith(": --set-code")


def test_without_patchelf_it_says_how_to_get_it(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (row,) = patchelf_rows(setting, QUICK, tmp_path)
    assert "apt-get install patchelf" in row["missing"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["exit 1"], "lists no options (exit status 1)"),
        (["echo it is broken >&2"], "lists no options (it is broken)"),
        ([r'[ "$1" = --help ] && exec printf "  [--set-rpath RPATH]\n"', "exit 1"], "refused them all"),
    ],
)
def test_a_patchelf_that_is_broken_is_not_one_that_edits_no_code(
    setting: Setting, tmp_path: Path, make_patchelf: MakePatchelf, lines: list[str], said: str
) -> None:
    make_patchelf(*lines)
    data = pl.DataFrame(list(patchelf_rows(setting, replace(QUICK, modes=()), tmp_path)), schema=SCHEMA)
    (found,) = ArticlePatch().judge(data)
    assert found.figures["patchelf"]["does"] is None
    assert said in found.sentence


def test_copies_run_without_a_core_file_and_need_no_tool_for_it(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        done = run_copy(setting, script(tmp_path / "copy", "exec /bin/cat /proc/self/limits"))
        assert resource.getrlimit(resource.RLIMIT_CORE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    (line,) = (each for each in done.stdout.decode().splitlines() if each.startswith("Max core file size"))
    assert line.split()[4] in ("0", "1")


HEADER = {"schema": 1, "columns": COLUMNS, "n": 0, "wall_ns": 5, "cpu_ns": 4, "truncated": True} | dict.fromkeys(
    ("nvcsw", "nivcsw", "threads_peak", "timer_slack_ns", "gomaxprocs"), 1
)


@pytest.mark.parametrize(
    ("lines", "status", "said"),
    [
        (["kill -SEGV $$"], -11, "ended by SIGSEGV"),
        (["exit 3"], 3, "exit status 3"),
        (["echo nothing"], 0, "start with a header"),
        ([f"echo '{json.dumps(HEADER)}'"], 0, "no sleep ended within 150 ms"),
    ],
)
def test_a_copy_that_does_not_end_well_is_a_row_that_says_so(
    setting: Setting, tmp_path: Path, lines: list[str], status: int, said: str
) -> None:
    row = ran(setting, script(tmp_path / "copy", *lines), QUIETLY, 10, None)
    assert row["status"] == status
    assert said in row["message"]
    assert "shortest_late_ns" not in row


def test_a_copy_that_the_kernel_does_not_take_is_told(setting: Setting, tmp_path: Path) -> None:
    copy = script(tmp_path / "copy")
    copy.write_bytes(b"\x7fELF")
    assert ran(setting, copy, QUIETLY, 10, None) == {
        "status": 126, "message": "copy cannot be started: Exec format error",
    }  # fmt: skip


def test_every_source_that_a_build_for_linux_amd64_may_take_is_read(tmp_path: Path) -> None:
    taken = ("proc.go", "sys_linux_amd64.s", "os_linux.go", "asm_amd64.s", "stubs_nonwindows.go", "defs_arm_linux.go")
    not_taken = ("os_windows.go", "sys_windows_amd64.s", "asm_arm64.s", "sys_linux_arm64.s", "proc_test.go")
    systems = [f"internal/goos/zgoos_{name}.go" for name in ("linux", "windows")]
    processors = [f"internal/goarch/zgoarch_{name}.go" for name in ("amd64", "arm", "arm64")]
    for name in (*systems, *processors, *(f"runtime/{each}" for each in (*taken, *not_taken))):
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("TEXT runtime·nanosleep(SB),NOSPLIT,$0\n" if path.name in not_taken else "", encoding="utf-8")
    assert {each.name for each in sources(tmp_path / "src")} == set(taken)
    assert source_row(tmp_path, "1.0")["found"] is False
    (tmp_path / "src" / "runtime" / "proc.go").write_text("func nanosleep(ns int64) {\n", encoding="ascii")
    assert source_row(tmp_path, "1.0")["found"] is True, "whatever the file's name"
    assert "missing" in source_row(tmp_path / "src", "1.0")


def test_the_installed_runtimes_sources_are_found() -> None:
    names = {each.name for each in sources(release_toolchain(DEFAULT_GO).root() / "src")}
    assert {"proc.go", "time.go", "os_linux.go", "sys_linux_amd64.s", "time_linux_amd64.s"} <= names
    assert not {"sys_windows_amd64.s", "sys_linux_arm64.s", "os_darwin.go", "proc_test.go"} & names
