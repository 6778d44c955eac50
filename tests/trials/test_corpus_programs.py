"""Other people's programs, for real: obtained, patched, at work, reverted; and what goes wrong is told."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from nanonap.toolchain.wheels import DEFAULT_GO
from nanonap.trials.corpus import work
from nanonap.trials.corpus.arms import chosen_arms
from nanonap.trials.corpus.obtain import OBTAINED, Obtainer
from nanonap.trials.corpus.processes import Processes, heard_signals
from nanonap.trials.corpus.programs import PROGRAMS, Program
from nanonap.trials.corpus.row import Result, Row
from nanonap.trials.corpus.working import ProgramTrial
from nanonap.trials.corpus.workplace import WorkFailed, Workplace
from nanonap.trials.errors import CorpusIncomplete
from tests.patience import PATIENCE_S, wait_until

GOFMT = Program("gofmt", f"go:{DEFAULT_GO}", ("bin/gofmt",), lambda at: {"said": formatted(at)}, "formats a file")
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm: apt-get install npm")
needs_debian = pytest.mark.skipif(shutil.which("apt-get") is None, reason="Debian's packages need apt-get")


def formatted(at: Workplace) -> str:
    return at.run(stdin=b"package  made\nvar  x=1\n").decode()


def tried(program: Program, folder: Path, arms: str = "netpoll+slack1", out: Path = OBTAINED) -> list[Row]:
    processes = Processes()
    return ProgramTrial(program, chosen_arms(arms), Obtainer(processes, out), processes, folder)()


@pytest.mark.long
@needs_npm
def test_a_program_of_a_release_between_the_wheels_takes_every_option(tmp_path: Path) -> None:
    """Go 1.20 calls as 1.19 does, in less room; npm has programs by it, and no toolchain is to be had."""
    (buildifier,) = (each for each in PROGRAMS if each.name == "buildifier")
    rows = tried(buildifier, tmp_path)
    assert {(row.arm, row.result) for row in rows} == {
        (arm, Result.SAME) for arm in ("netpoll+slack1", "netpoll+slack1+quantum", "netpoll+slack1+spin")
    }, [row.detail for row in rows]
    assert all(row.go.startswith("1.20") for row in rows)


@pytest.mark.long
@needs_debian
def test_a_debian_program_does_the_same_work_patched(tmp_path: Path) -> None:
    (age,) = (each for each in PROGRAMS if each.name == "age")
    (row,) = tried(age, tmp_path)
    assert row.result == Result.SAME, row.detail
    assert row.origin.startswith("Debian age ")
    assert row.go.startswith("1.")
    assert len(row.evidence["decrypted"]) == 64


def test_a_program_that_says_something_else_patched_is_changed(tmp_path: Path) -> None:
    program = Program("gofmt", GOFMT.source, GOFMT.paths, lambda at: {"where": at.folder.name}, "tells its folder")
    (row,) = tried(program, tmp_path)
    assert row.result == Result.CHANGED
    assert row.detail == "where: stock work-stock, patched work-netpoll+slack1"


def test_a_program_that_fails_patched_alone_is_changed(tmp_path: Path) -> None:
    def fails_when_patched(at: Workplace) -> work.Evidence:
        if "netpoll" in str(at.programs[0]):
            at.run("-no-such-option")
        return {"said": formatted(at)}

    (row,) = tried(Program("gofmt", GOFMT.source, GOFMT.paths, fails_when_patched, ""), tmp_path)
    assert row.result == Result.CHANGED
    assert "exit status 2, not 0" in row.detail


def test_a_patched_file_that_was_written_to_during_the_work_is_changed(tmp_path: Path) -> None:
    def writes(at: Workplace) -> work.Evidence:
        if "netpoll" in str(at.programs[0]):
            with at.programs[0].open("r+b") as stream:
                stream.seek(-1, os.SEEK_END)
                stream.write(b"!")
        return {}

    (row,) = tried(Program("gofmt", GOFMT.source, GOFMT.paths, writes, ""), tmp_path)
    assert row.result == Result.CHANGED
    assert "SHA-256" in row.detail or "changed" in row.detail


def test_a_program_that_cannot_work_unpatched_is_shown_as_that(tmp_path: Path) -> None:
    def fails(at: Workplace) -> work.Evidence:
        raise WorkFailed("no luck")

    (row,) = tried(Program("gofmt", GOFMT.source, GOFMT.paths, fails, ""), tmp_path)
    assert (row.result, row.detail) == (Result.STOCK_FAILS, "no luck")


def test_a_refusal_that_no_row_foretells_is_unexpected(tmp_path: Path) -> None:
    # gofmt of this release never sleeps: there is nothing for strategy sleep to change, and that is no surprise.
    (row,) = tried(GOFMT, tmp_path / "sleep", "sleep")
    assert row.result == Result.REFUSED
    not_go = Program("cat", "go:" + DEFAULT_GO, ("../../../../../../../../usr/bin/cat",), formatted_nothing, "")
    (row,) = tried(not_go, tmp_path / "cat")
    assert row.result == Result.UNEXPECTED
    assert row.detail.startswith("NotGo: ")


def formatted_nothing(_: Workplace) -> work.Evidence:
    return {}


@needs_debian
def test_a_package_that_debian_does_not_have_is_told_with_the_remedy_and_leaves_nothing(tmp_path: Path) -> None:
    program = Program("none", "debian:no-such-package-here", ("usr/bin/none",), formatted_nothing, "")
    (row,) = tried(program, tmp_path / "work", out=tmp_path / "obtained")
    assert row.result == Result.NOT_HERE
    assert "no-such-package-here" in row.detail
    assert "apt-get update" in row.detail
    assert [each for each in (tmp_path / "obtained").rglob("*") if not each.name.startswith(".")] == [
        tmp_path / "obtained" / "debian"
    ]


@pytest.mark.parametrize("source", ["debian:age", "debian-arm64:age", "npm:lefthook-linux-x64@2.2.2"])
def test_a_machine_without_the_client_is_told_the_remedy(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusIncomplete, match=r"is not on PATH: .*--only"):
        Obtainer(Processes(), tmp_path / "obtained").get(source)


def test_a_server_that_ends_by_itself_is_told_at_once(tmp_path: Path) -> None:
    at = Workplace(tmp_path, (Path("/bin/false"),), Processes())

    def never() -> None:
        raise ConnectionError("refused")

    with pytest.raises(WorkFailed, match="ended by itself, status 1"), at.serving(ready=never):
        pass


def test_a_program_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    at = Workplace(tmp_path, (Path("/bin/sh"),), Processes())
    with pytest.raises(WorkFailed, match="no end within 1 s"):
        at.run("-c", "sleep 4321 & echo $! > child; wait", limit_s=1)
    child = Path("/proc") / (tmp_path / "child").read_text(encoding="ascii").strip()
    wait_until(lambda: gone(child))  # the kernel ends it after kill(2) has returned


def gone(process: Path) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return "\nState:\tZ" in (process / "status").read_text(encoding="ascii")
    except OSError:
        return True


def test_what_a_shell_lets_its_background_jobs_ignore_is_heard_in_a_trial(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        at = Workplace(tmp_path, (Path("/bin/sh"),), Processes())
        with heard_signals():
            at.run("-c", "kill -INT $$; echo survived", status=-signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert at.run("-c", "kill -INT $$; echo survived") == b"survived\n"
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.long
def test_ctrl_c_ends_every_process_and_leaves_no_folder(tmp_path: Path) -> None:
    # A shell that runs the tests in the background has SIGINT ignored, which its children inherit.
    script = f"""
        import signal
        from pathlib import Path
        from nanonap.trials.corpus.run import run_corpus
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run_corpus(only="time,os/signal", corpus=Path({str(tmp_path)!r}))
    """
    campaign = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=PROJECT, stderr=subprocess.PIPE, start_new_session=True
    )
    wait_until(lambda: bool(running(tmp_path, ".test")))
    campaign.send_signal(signal.SIGINT)
    _, said = campaign.communicate(timeout=PATIENCE_S)
    assert said.rstrip().endswith(b"KeyboardInterrupt")
    assert not running(tmp_path, "")
    assert not list(tmp_path.glob("run-*"))
    assert not (tmp_path / "latest.json").exists()


def running(folder: Path, end: str) -> list[str]:
    """The command lines of processes whose program lies in the folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            first = each.read_bytes().split(b"\0")[0].decode()
        except OSError:
            continue
        if first.startswith(f"{folder}/") and first.endswith(end):
            found.append(first)
    return found
