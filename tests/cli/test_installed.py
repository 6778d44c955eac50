"""The installed command, far from any checkout: what is in the wheel, what the core does, what the lab adds."""

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import PathDistribution
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from nanonap import __version__
from nanonap.base.interrupts import SAID
from nanonap.base.paths import PROJECT, TOOLCHAINS
from nanonap.cli.tasks import collection
from tests.cli.installed import Installed, install
from tests.lab.attribution.tracing import needs_tracing
from tests.patience import PATIENCE_S

#: The tasks that work without the extra.
CORE = {"patch", "inspect", "verify", "revert", "inject", "eject", "status", "advise"}
WORDS = {
    "bundle": ("x",),
    "compare": ("x", "y"),
    "experiment": ("dilation",),
    "fleet-bench": ("--scheduler", "x"),
    "fleet-hosts": ("--scheduler", "x"),
    "fleet-keys": ("x",),
    "fleet-report": ("x",),
    "fleet-worker": ("--scheduler", "x"),
    "predict": ("--quota", "50%"),
    "report": ("x",),
}
LAB = sorted(collection(checkout=False).tasks.keys() - CORE)
MOST_BYTES = 120 * 10**6
Nanonap = Callable[..., CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user stands; it is empty, as the home beside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


@pytest.fixture
def nanonap(core: Installed, folder: Path) -> Nanonap:
    """Run the installed command where the user stands."""
    return lambda *words: core.run("nanonap", *words, cwd=folder, home=folder.parent / "home")


def test_the_wheel_holds_every_file_of_the_packages_and_every_go_source(wheel: Path) -> None:
    files = [each for name in ("nanonap", "patcher", "gosrc") for each in (PROJECT / name).rglob("*") if each.is_file()]
    names = {str(each.relative_to(PROJECT)) for each in files if "__pycache__" not in each.parts}
    names.remove("nanonap/base/interrupts.pth")  # `lab` puts it into a checkout's environment
    wanted = {f"nanonap/{each}" if each.startswith("gosrc/") else each for each in names}
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    metadata = {each for each in held if each.partition("/")[0].endswith(".dist-info")}
    assert held - metadata == wanted


@pytest.mark.long
def test_the_core_is_small_and_brings_nothing_of_the_lab(core: Installed) -> None:
    files = [each for name in core.added for each in _files(core.packages / name)]
    assert sum(each.stat().st_size for each in files) <= MOST_BYTES
    named = {each.partition("-")[0].lower() for each in core.added if each.endswith(".dist-info")}
    of_rich = {"markdown_it_py", "mdurl", "pygments"}
    assert named == {"capstone", "invoke", "keystone_engine", "lief", "nanonap", "rich", "unicorn"} | of_rich
    assert {"nanonap", "patcher"} <= core.added


def test_a_program_is_patched_runs_is_verified_and_reverted(nanonap: Nanonap, folder: Path, sleepbench: Path) -> None:
    program = Path(shutil.copy2(sleepbench, folder / "their-service"))
    patched = folder / "their-service.netpoll"

    def done(*words: str | Path) -> str:
        finished = nanonap(*words)
        assert (finished.returncode, finished.stderr) == (0, "")
        return finished.stdout

    assert "netpoll" in done("inspect", program.name)
    told = done("patch", "--binary", program.name)
    assert "nanonap revert their-service.netpoll" in told
    ran = subprocess.run([patched, "-plan", "100us*3"], capture_output=True, check=True)
    assert json.loads(ran.stdout.splitlines()[0])["n"] == 3
    assert "as its manifest says" in done("verify", patched.name)
    done("revert", patched.name)
    assert patched.read_bytes() == program.read_bytes()
    assert {each.name for each in folder.iterdir()} == {program.name, patched.name}
    assert not list((folder.parent / "home").iterdir())


def test_its_version_is_the_wheels(nanonap: Nanonap, wheel: Path) -> None:
    assert nanonap("--version").stdout == f"nanonap {wheel.name.split('-')[1]}\n"


def test_its_tasks_are_those_that_need_no_checkout(nanonap: Nanonap) -> None:
    listed = json.loads(nanonap("--list", "--list-format=json").stdout)["tasks"]
    assert {each["name"] for each in listed} == {*CORE, *LAB}
    assert nanonap("lint").returncode == nanonap("test").returncode == 2
    shown = nanonap("--help").stdout
    assert "Usage: nanonap " in shown
    assert all(f"  {each} " in shown for each in (*CORE, *LAB))


@pytest.mark.parametrize("task", LAB)
def test_a_task_of_the_lab_says_in_a_line_what_to_install(nanonap: Nanonap, task: str) -> None:
    done = nanonap(task, *WORDS.get(task, ()))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (20, "", 1), done.stderr
    extra = "fleet" if task.startswith("fleet") else "lab"
    assert done.stderr.startswith(f"nanonap: {task}: needs the {extra}")
    assert f"pip install 'nanonap[{extra}]'" in done.stderr


def test_patch_without_a_program_says_how_to_name_one(nanonap: Nanonap) -> None:
    done = nanonap("patch")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (20, "", 1), done.stderr
    assert done.stderr.endswith("nanonap patch --binary FILE\n")


def test_a_program_is_watched(nanonap: Nanonap, sleepbench: Path, folder: Path) -> None:
    needs_tracing()
    own = shutil.copy2(sleepbench, folder / "own")  # no process of it is injected meanwhile
    done = nanonap("advise", "--for", "1s", "--json", "--", own, "-plan", "100us*1000000")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["timers_seen"]


@pytest.mark.parametrize(("typed", "completed"), [("ver", "verify"), ("patch --sla", "--slack-ns")])
def test_bash_completes_tasks_and_options(core: Installed, folder: Path, typed: str, completed: str) -> None:
    last = typed.rpartition(" ")[2]
    script = f"""eval "$(nanonap --print-completion-script bash)"
        complete -p nanonap >&2
        COMP_WORDS=(nanonap {typed}) && _complete_nanonap nanonap {last} && echo "${{COMPREPLY[@]}}" """
    done = core.run("bash", "-c", script, cwd=folder, home=folder)
    assert (done.stdout, done.returncode) == (f"{completed}\n", 0), done.stderr
    assert "_complete_nanonap nanonap" in done.stderr


def test_ctrl_c_before_a_task_begins_is_one_line(core: Installed, folder: Path, sleepbench: Path) -> None:
    """strace sends the signal as Invoke, which is imported first, opens one of its files."""
    log = folder / "log"
    traced: list[str | Path] = ["env", "--default-signal=INT", "strace", "-qq", "-o", log, "-e", "trace=openat"]
    command: list[str | Path] = ["nanonap", "inspect", sleepbench]
    assert core.run(*traced, *command, cwd=folder, home=folder).returncode == 0
    calls = [line for line in log.read_text().splitlines() if line.startswith("openat(")]
    opened = next(number for number, line in enumerate(calls, 1) if "/invoke/" in line and "config" in line)
    inject = f"inject=openat:signal=SIGINT:when={opened}"
    done = core.run(*traced, "-e", inject, *command, cwd=folder, home=folder)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", f"{SAID}\n")


@pytest.mark.long
def test_with_the_lab_it_builds_and_measures(wheel: Path, folder: Path) -> None:
    """Toolchain and builds in the user's cache folder, results where the user stands, nothing elsewhere."""
    home = folder.parent / "home"
    lab = install(wheel, folder.parent, "[lab]", "--no-compile")  # most of it is never imported
    # What a first call fetches and compiles is there already: that it is fetched, other tests see.
    (home / ".cache" / "nanonap").mkdir(parents=True)
    (home / ".cache" / "nanonap" / "toolchains").symlink_to(TOOLCHAINS)

    def done(*words: str) -> str:
        finished = lab.run("nanonap", *words, cwd=folder, home=home, timeout=4 * PATIENCE_S)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    few = ("--quick", "--arms", "stock,netpoll")
    assert "the page:   artifacts/results/" in done("build", "bench", *few)
    latest = folder / "artifacts" / "results" / "latest"
    assert {"bench.json", "report.html", "summary.json"} <= {each.name for each in latest.iterdir()}
    assert json.loads((latest / "bench.json").read_text())["command"].startswith("nanonap bench --quick --arms")
    assert {each.name for each in (home / ".cache" / "nanonap").iterdir()} == {
        "build", "patched", "toolchains", "tried"
    }  # fmt: skip
    bundle = json.loads(done("bundle", "artifacts/results/latest", "--json"))["bundle"]
    with zipfile.ZipFile(bundle) as archive:
        assert "nanonap report BUNDLE.zip" in archive.read("README.txt").decode()
        assert not [each for each in archive.namelist() if each.endswith(".lock")]
    assert json.loads(done("report", bundle, "--format", "json"))["cells"]
    assert [each.name for each in folder.iterdir()] == ["artifacts"]
    assert not _written_into(lab)


def _files(path: Path) -> Iterator[Path]:
    """The files under a path, or the one that it is."""
    return (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else iter([path])


def _written_into(installed: Installed) -> list[Path]:
    """Files of the installed packages that no wheel brought, compiled code apart."""
    brought = PathDistribution(installed.packages / f"nanonap-{__version__}.dist-info").files or []
    known = {installed.packages / str(each) for each in brought}
    held = [each for name in ("nanonap", "patcher") for each in _files(installed.packages / name)]
    return [each for each in held if each not in known and each.suffix != ".pyc"]
