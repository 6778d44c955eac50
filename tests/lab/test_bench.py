"""Whole benches of the real program: from arms to report, under a real quota, interrupted, refused."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest

from nanonap.base.errors import DiskFull, OutputExists, UsageError
from nanonap.lab.main import redraw, run_bench
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.cgroup import CgroupBackend
from nanonap.lab.store.read import load
from tests import warm
from tests.lab.made import ENVIRONMENT, SMALL, Bench, Roots, bench_command
from tests.lab.test_cgroups import READ_ONLY
from tests.patience import PATIENCE_S, wait_until


def test_a_small_bench_leaves_a_whole_result(roots: Roots, bench: Bench, backend: Backend) -> None:
    done = bench(as_json=True, arms="stock,netpoll,floor", load="quiet,burn:1,sleepers:50")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    folder = Path(document["result"])
    assert folder.parent == roots.results
    assert (roots.results / "latest").resolve() == folder.resolve()
    names = {path.name for path in folder.iterdir() if path.suffix != ".png"}
    raw = {"runs.jsonl", "samples.parquet", "stat.parquet", "attribution.parquet", "states.parquet"}
    assert names == raw | {"bench.json", "summary.json", "report.html"}
    _check_runs(folder, backend.name)
    samples = pl.read_parquet(folder / "samples.parquet")
    assert samples.columns[:5] == ["run_id", "requested_ns", "index", "start_ns", "actual_ns"]
    assert (samples["actual_ns"] >= samples["requested_ns"]).all()
    assert document["cells"] == json.loads((folder / "summary.json").read_text())["cells"]
    assert not document["partial"]
    assert {cell["condition"]["load"] for cell in document["cells"]} == {"quiet", "burn:1", "sleepers:50"}


def _check_runs(folder: Path, backend: str) -> None:
    result = load(folder)
    text = (folder / "runs.jsonl").read_text()
    assert [json.dumps(msgspec.to_builtins(run)) for run in result.runs] == text.splitlines()
    assert {run.arm for run in result.runs} == {"stock", "netpoll", "floor"}
    for run in result.runs:
        limited = run.condition.quota == "50%"
        assert run.condition.backend == (backend if limited else "none")
        assert (run.counters.nr_periods is not None) == limited
        assert (run.counters.cpu_ns or 0) > 0
        assert (run.counters.threads_peak or 0) >= 1
        assert not run.partial
    # Every block has every arm under each of its conditions.
    blocks: dict[tuple[int, str], set[str]] = {}
    for run in result.runs:
        blocks.setdefault((run.block, repr(run.condition)), set()).add(run.arm)
    assert all(arms == {"stock", "netpoll", "floor"} for arms in blocks.values())
    text += (folder / "bench.json").read_text()
    assert os.uname().nodename not in text
    assert "/tmp" not in text  # noqa: S108 - no path of this machine may be in it


def test_an_arm_that_is_started_by_a_wrapper_names_no_folder_of_this_machine(bench: Bench) -> None:
    folder = Path(json.loads(bench(as_json=True, quota="none", load="quiet", arms="stock+prctl").stdout)["result"])
    [arm] = json.loads((folder / "bench.json").read_text())["arms"]
    assert arm["before"] == ["slackexec", "1"]
    # The wrapper did what it is for.
    assert {run.timer_slack_ns for run in load(folder).runs} == {1}


def test_tables_go_to_stdout_and_messages_to_stderr(bench: Bench) -> None:
    done = bench(quota="none", load="quiet")
    assert done.returncode == 0, done.stderr
    assert "Quiet, no quota" in done.stdout
    assert "report.html" in done.stdout
    assert "block 1/" in done.stderr
    assert "block 1/" not in done.stdout


def test_the_cost_workload_has_its_system_calls_counted(bench: Bench) -> None:
    document = json.loads(bench(as_json=True, quota="none", arms="stock,floor").stdout)
    costs = {row["arm"]: row for row in document["costs"]}
    counted = [row["epoll_per_second"] for row in costs.values()]
    if None in counted:
        assert any("system calls were not counted" in warning for warning in document["warnings"])
    else:
        # Fifty stock sleepers share their waits; the raw system call enters no epoll at all.
        assert costs["stock"]["epoll_per_second"] > 100
        assert costs["floor"]["epoll_per_second"] < 100


def test_a_folder_that_holds_something_is_not_written_into(roots: Roots, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExists, match="mine: not empty"):
        run_bench("quick", out=out, build_root=roots.build, patched_root=roots.patched, quota="none")
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_an_out_folder_is_used_and_latest_is_left_alone(roots: Roots, bench: Bench, tmp_path: Path) -> None:
    done = bench(out=str(tmp_path / "deep" / "mine"), quota="none", load="quiet", arms="floor", requested="100us")
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "deep" / "mine").runs
    assert not roots.results.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": "swift"}, "no such size: swift"),
        ({"arms": "fast"}, "no such arm: fast"),
        ({"requested": "soon"}, "'soon' is not a duration"),
        ({"quota": "50"}, "'50' is not a quota"),
        ({"load": "noise"}, "'noise' is not a load"),
        ({"backend": "nomad"}, "no such backend: nomad"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_anything_is_made(
    roots: Roots, options: dict[str, str], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        run_bench(**options, build_root=roots.build, patched_root=roots.patched, results=roots.results)  # type: ignore[arg-type]
    assert not roots.results.exists()


@pytest.fixture
def no_groups(backend: Backend) -> tuple[str, ...]:
    around = ("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", READ_ONLY, "sh")
    done = subprocess.run([*around, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs root, to remount the cgroup file systems read-only in a namespace: {done.stderr.strip()}")
    return around


def test_where_no_quota_can_be_set_the_rest_runs_and_says_so(bench: Bench, no_groups: tuple[str, ...]) -> None:
    done = bench(around=no_groups, as_json=True, load="quiet")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {cell["condition"]["quota"] for cell in document["cells"]} == {"none"}
    told = [warning for warning in document["warnings"] if warning.startswith("quota 50% is not measured")]
    assert len(told) == 1
    assert "Read-only" in told[0]
    assert "remount" in told[0]
    assert "quota 50% is not measured" in " ".join(done.stderr.split())


def test_where_only_a_quota_was_asked_for_and_none_can_be_set_it_is_an_error(
    bench: Bench, no_groups: tuple[str, ...], roots: Roots
) -> None:
    done = bench(around=no_groups, quota="50%")
    assert done.returncode == 43
    assert "QuotaUnavailable" in done.stderr
    assert not roots.results.exists()
    assert bench(around=no_groups, backend="cgroup1").returncode == 43


def _wait_for(condition: Callable[[], bool], process: warm.Started, what: str) -> None:
    wait_until(lambda: process.poll() is not None or condition(), lambda: f"waited too long for {what}")
    assert process.poll() is None, f"ended before {what}: {process.communicate()}"


def _running(marker: Path) -> list[str]:
    """Processes whose command names a file under ``marker``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{marker}/" in command and "drive.py" not in command:
            found.append(command)
    return found


@pytest.mark.usefixtures("hangup_is_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_bench_keeps_what_was_measured_and_leaves_nothing_else(
    roots: Roots, backend: Backend, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(backend, CgroupBackend)
    # Only runs under quota, so that it is interrupted inside a group.
    options = {**SMALL, "size": "default", "quota": "50%", "load": "burn:1"}
    process = _started(bench_command(roots, options))
    parent = backend.parent

    def measuring() -> bool:
        recorded = [path.read_text().count("\n") for path in roots.results.glob("2*/runs.jsonl")]
        inside = [path for path in parent.glob(f"nanonap-{process.pid}-*/cgroup.procs") if _lines(path)]
        return sum(recorded) >= 2 and bool(inside)

    _wait_for(measuring, process, "a run under quota after two that were recorded")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert number.name in stderr
    assert "Traceback" not in stderr
    assert list(parent.glob(f"nanonap-{process.pid}-*")) == []
    assert _running(roots.build) == []
    folder = (roots.results / "latest").resolve()
    result = load(folder)
    assert len(result.runs) >= 2
    assert all(run.partial for run in result.runs)
    assert not (folder / "parts").exists()
    assert (folder / "report.html").exists()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["partial"]
    assert summary["warnings"][0].startswith("partial")
    assert "partial" in stdout
    redraw(folder, "markdown")
    assert "cut short" in capsys.readouterr().out


def _started(command: list[str]) -> warm.Started:
    return warm.start(command[1:], env=ENVIRONMENT)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def test_a_bench_interrupted_before_its_first_run_leaves_no_folder(roots: Roots) -> None:
    process = _started(bench_command(roots, {**SMALL, "requested": "10s", "quota": "none", "load": "quiet"}))
    _wait_for(lambda: bool(_running(roots.build)), process, "the first run")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert list(roots.results.iterdir()) == []
    assert _running(roots.build) == []


def test_a_killed_bench_leaves_a_readable_partial_result(roots: Roots) -> None:
    process = _started(bench_command(roots, {**SMALL, "quota": "none", "load": "quiet", "size": "full"}))

    def recorded() -> bool:
        return any(path.read_text().count("\n") >= 2 for path in roots.results.glob("2*/runs.jsonl"))

    _wait_for(recorded, process, "two runs")
    process.kill()
    process.communicate()
    result = load(next(roots.results.glob("2*")))
    assert result.partial
    assert result.samples.height > 0


def test_an_arm_that_crashes_ends_the_bench_with_its_name_and_keeps_the_others(roots: Roots, bench: Bench) -> None:
    broken = roots.patched / "1.27.3" / "default" / "sleepbench.netpoll"
    broken.write_text("#!/bin/sh\necho 'runtime: epollwait on fd 3 failed with 1' >&2\nexit 2\n")
    broken.chmod(0o755)
    done = bench(arms="stock,netpoll,floor", quota="none", load="quiet", seed=3)
    assert done.returncode == 42
    told = " ".join(done.stderr.split())
    assert "arm netpoll" in told
    assert "exit status 2" in told
    assert "epollwait on fd 3 failed" in told
    assert "Traceback" not in done.stderr


FULL_DISK = 'mount -t tmpfs -o size=200k none "$1" && shift && exec "$@"'


def test_a_full_disk_is_said_so_and_what_fitted_is_readable(roots: Roots, bench: Bench, tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    around = ("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", FULL_DISK, "sh", str(mount))
    if subprocess.run([*around, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, to mount a small file system in a namespace")
    done = bench(around=around, out=str(mount / "result"), size="quick", arms="stock,floor", quota="none")
    assert done.returncode == DiskFull.exit_code, done.stderr
    assert "Traceback" not in done.stderr
