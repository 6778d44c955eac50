"""The recorders of skew: both say the same, end in every way, and say what they lack."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanonap.lab.attribution.recording import Recording
from nanonap.lab.experiments.skew.events import Wake, parse_wakes
from nanonap.lab.experiments.skew.recorder import SCRIPT, TRACEFS
from nanonap.lab.experiments.skew.runs import RECORDER
from nanonap.lab.experiments.skew.tracefs import switched_on
from tests.conftest import BuildProgram
from tests.lab.attribution.tracing import left, needs_tracing
from tests.lab.experiments.recorders import ENVIRONMENT, needs_bpftrace
from tests.patience import PATIENCE_S, wait_until
from tests.soon import soon

_CUT_NS = 1_000  # what tracefs may show too early


def stamps(wake: Wake) -> list[int]:
    """Four, or fewer where the deadline had passed before the thread slept: it never left its CPU."""
    return [each for each in (wake.expired, wake.woken, wake.ran, wake.exited) if each is not None]


def in_order(wakes: list[Wake]) -> list[Wake]:
    return sorted(wakes, key=lambda wake: wake.soft)


def test_both_ways_record_the_same_wake_ups(build_program: BuildProgram, tmp_path: Path) -> None:
    needs_bpftrace()
    link = tmp_path / f"both-{os.getpid()}"
    link.symlink_to(build_program("sleepbench"))
    with (
        Recording(link, None, "bpftrace", RECORDER) as first,
        Recording(link, None, "trace", RECORDER) as second,
    ):
        # On the first CPU, since on others some kernels' tracefs does not have what idle tasks do.
        command = [
            "taskset",
            "--cpu-list",
            str(min(os.sched_getaffinity(0))),
            str(link),
            "-method",
            "floor",
            "-plan",
            "200us*100",
            "-warmup",
            "5",
        ]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        ours, theirs = (in_order(parse_wakes(each.stop(), each.method).wakes) for each in (first, second))
    raw = {wake.soft: wake for wake in theirs}
    assert len(theirs) >= 105
    assert len(ours) > 0.5 * len(theirs)  # a script does not see what interrupts it
    assert sum(len(stamps(each)) == 4 for each in ours) > 0.5 * len(ours)
    for wake, following in zip(ours, [*ours[1:], None], strict=True):
        other = raw[wake.soft]
        assert (wake.tid, wake.hard) == (other.tid, other.hard)
        # One clock: whatever either says of a wait lies after its deadline, and before the other's next wait.
        for each in (wake, other):
            assert stamps(each) == sorted(stamps(each))
            assert stamps(each)[0] >= wake.soft - _CUT_NS
            assert following is None or stamps(each)[-1] <= raw[following.soft].armed + _CUT_NS
            assert following is None or stamps(each)[-1] <= following.armed + _CUT_NS


@pytest.fixture
def running(tmp_path: Path, build_program: BuildProgram) -> Iterator[subprocess.Popen[bytes]]:
    """The experiment in a process of its own, with its recorder at work."""
    needs_tracing()
    script = f"""
import sys
from pathlib import Path
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.skew.experiment import Skew
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.limits import Quota
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.plan.schedule import Run
from nanonap.base.errors import Interrupted
stop = Stop()
with stop.listening():
    program = Path({str(build_program("sleepbench"))!r})
    try:
        Skew().run(Setting(False, NoBackend(), program, {{"floor": program}}, stop, print, Path({str(tmp_path)!r})))
    except Interrupted:
        sys.exit(130)
"""
    command = [sys.executable, "-u", "-c", script]
    (tmp_path / "temporary").mkdir()
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path / "temporary")}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
        try:
            wait_until(lambda: any(name.startswith("skew-") for name, _ in below(process.pid).values()))
            yield process
        finally:
            process.kill()


def below(pid: int) -> dict[int, tuple[str, int]]:
    """{number: (name, parent)} of all that a process has started."""
    known = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                head, _, tail = (each / "stat").read_text(encoding="utf-8").rpartition(") ")
            except OSError:
                continue
            known[int(each.name)] = (head.partition("(")[2], int(tail.split()[1]))
    found, last = {pid}, 0
    while len(found) != last:
        last = len(found)
        found |= {number for number, (_, parent) in known.items() if parent in found}
    return {number: known[number] for number in found - {pid} if number in known}


def tracefs_mounts() -> list[str]:
    """What a recorder may leave mounted; container engines come and go meanwhile."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [each for each in mounts if each.split()[2] == "tracefs"]


@pytest.mark.parametrize("number", soon([signal.SIGINT, signal.SIGKILL], 0))
def test_nothing_is_left_of_an_experiment_that_is_ended(
    running: subprocess.Popen[bytes], number: int, tmp_path: Path
) -> None:
    mounts = tracefs_mounts()
    started = below(running.pid)
    assert any((tmp_path / "temporary").iterdir())
    assert len(started) >= 2
    running.send_signal(number)
    assert running.wait() == (130 if number == signal.SIGINT else -number)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))
    assert tracefs_mounts() == mounts
    assert not any(f"nanonap-{pid}-" in left() for pid in started)
    wait_until(lambda: not any((tmp_path / "temporary").iterdir()))


def test_bpftrace_ends_with_its_recorder_however_that_ends() -> None:
    needs_bpftrace()
    with Recording("nothing", None, "bpftrace", RECORDER) as recording:
        number = recording._process.pid
        started = below(number)
        assert "bpftrace" in {name for name, _ in started.values()}
        os.kill(number, signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


@pytest.mark.parametrize("at", soon(["_prepare", "start"], 1))
def test_a_recorder_that_is_ended_while_it_begins_leaves_nothing(at: str) -> None:
    needs_tracing()
    script = f"""
import os, signal, sys
from nanonap.lab.experiments.skew.experiment import recorder as skew_recorder
class Ended(skew_recorder.Wakeups):
    def {at}(self, *arguments):
        super().{at}(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
skew_recorder.Wakeups = Ended
sys.argv = ["recorder", "--program", "any", "--mode", "trace"]
sys.exit(skew_recorder.main())
"""
    with subprocess.Popen([sys.executable, "-c", script], env=ENVIRONMENT, stdin=subprocess.PIPE) as process:
        assert process.wait() == 1
    assert f"nanonap-{process.pid}-" not in left()


@pytest.mark.parametrize(("tools", "package"), [((), "bpftrace"), (("bpftrace",), "util-linux")])
def test_without_what_it_takes_tracefs_records_and_it_is_said(
    tools: tuple[str, ...], package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs_tracing()
    for tool in tools:
        (tmp_path / tool).symlink_to(shutil.which(tool) or "/bin/false")
    monkeypatch.setenv("PATH", str(tmp_path))
    with Recording("nothing", None, "auto", RECORDER) as recording:
        assert recording.method == TRACEFS
        assert recording.refusal is not None
        assert f"apt-get install {package}" in recording.refusal.remedy


def test_without_the_rights_it_is_said_what_is_needed() -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to give its rights up")
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", RECORDER, "--program", "any"]
    hidden = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-e", "-c",
              'mount -t tmpfs none /sys/kernel/tracing; exec "$@"', "sh"]  # fmt: skip
    done = subprocess.run(
        [*hidden, *command], input="stop\n", capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    about = json.loads(done.stdout)
    assert about["method"] == "none"
    assert "run as root" in about["remedy"]


def test_the_schedulers_switch_is_turned_in_a_guest_of_ours_alone(tmp_path: Path) -> None:
    switch, ours = tmp_path / "sched_schedstats", tmp_path / "boot.py"
    switch.write_text("0\n", encoding="ascii")
    assert "no experiment changes that" in (switched_on(switch, ours) or "")
    assert switch.read_text(encoding="ascii") == "0\n"
    ours.touch()
    assert switched_on(switch, ours) is None
    assert switch.read_text(encoding="ascii") == "1"
    ours.unlink()
    assert switched_on(switch, ours) is None  # somebody else has
    ours.touch()
    for refusing in (tmp_path, Path("/proc/version"), tmp_path / "nothing"):
        assert "cannot be switched on" in (switched_on(refusing, ours) or "")


def test_the_script_runs_alone_as_its_head_says(build_program: BuildProgram, tmp_path: Path) -> None:
    needs_bpftrace()
    head = re.search(r"unshare --mount .*?'\n", SCRIPT.read_text(encoding="utf-8"), re.DOTALL)
    assert head is not None
    command = head[0].replace("\\\n *", "").replace("; bpftrace", "; exec bpftrace").strip()
    name = f"alone-{os.getpid()}"
    (tmp_path / name).symlink_to(build_program("sleepbench"))
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command.replace('NAME', name)}"], cwd=SCRIPT.parent, stdout=said, stderr=said
        )
    try:
        wait_until(lambda: b"ready" in (tmp_path / "said").read_bytes() or process.poll() is not None)
        plan = ["-method", "floor", "-plan", "200us*100"]
        subprocess.run([tmp_path / name, *plan], stdout=subprocess.DEVNULL, check=True)
        for _ in range(8):  # bpftrace hears it only while it waits for events
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S / 8)
                break
        assert process.wait(0) in (0, -signal.SIGINT)  # of another one it ends, having said all that is asked for below
    finally:
        process.kill()
        process.wait()
    text = (tmp_path / "said").read_text(encoding="utf-8")
    assert len(re.findall(r"^@wakes\[\d+, \d+\]: \(", text, re.MULTILINE)) > 50
    for stage in ("deadline_to_expiry", "expiry_to_wakeup", "wakeup_to_running", "running_to_exit"):
        assert re.search(rf"^@{stage}_ns:", text, re.MULTILINE)
