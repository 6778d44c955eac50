"""An A/B of a program by file: what is measured, kept and told, and how each bad case ends."""

import json
import re
import shutil
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nanonap.base.errors import Interrupted, NanonapError, UsageError
from nanonap.lab.ab import errors
from nanonap.lab.ab.judged import Judged
from nanonap.lab.ab.main import judged, run_ab
from nanonap.lab.ab.service import parse_ready, serving
from nanonap.lab.ab.store import ABOUT, read
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.arms import PRECISE
from nanonap.lab.store.write import RUNS
from nanonap.toolchain.patched import patch_as, variant_of
from patcher.errors import AlreadyPatched, InputNotFound, NotGo
from tests import warm
from tests.conftest import BuildProgram
from tests.lab.ab.conftest import METRICS, METRICS_NAMED, Answerer, free_port
from tests.patience import PATIENCE_S, wait_until
from tests.warm import INVOKE


def processes_of(folder: Path) -> list[str]:
    """Those whose program lies in a temporary folder of an A/B of this program, or did."""
    found = []
    for each in Path("/proc").glob("[0-9]*/exe"):
        try:
            target = str(each.readlink())
        except OSError:
            continue
        if re.search(rf"/nanonap-[^/]+/[^/]+/{folder.name}( \(deleted\))?$", target):
            found.append(target)
    return found


@pytest.fixture
def own(answerer: Answerer, tmp_path: Path) -> Answerer:
    return copy_of(answerer.path, tmp_path)


def copy_of(program: Path, folder: Path) -> Answerer:
    """A copy with a name that no other test's process has."""
    port = free_port()
    return Answerer(Path(shutil.copy2(program, folder / f"answerer-{port}")), port)


@dataclass(frozen=True)
class Measured:
    own: Answerer
    folder: Path
    judged: Judged


@pytest.fixture(scope="module")
def measured(build_program: BuildProgram, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """One A/B of several arms, for all that is asked about what it gives."""
    own = copy_of(build_program("answerer"), tmp_path_factory.mktemp("program"))
    out = tmp_path_factory.mktemp("result") / "out"
    run_ab(own.asked(arms="netpoll,control", slack_ns=1, metrics=METRICS, per="asked", out=out))
    return Measured(own, out, judged(out))


def test_a_service_that_sleeps_answers_sooner_when_it_is_patched(measured: Measured) -> None:
    found = measured.judged
    assert found.about.arms == ["stock", "netpoll", "control", "netpoll+slack1"]
    assert len(set(found.about.binaries.values())) == 3
    rows = {(row.figure, row.arm): row for row in found.rows}
    late, least, same = (rows[each] for each in (("median", PRECISE), ("least", PRECISE), ("asked", "netpoll")))
    assert late.unit == "ns"
    # The shortest of twenty answers: how long most take is a busy machine's matter.
    assert 100_000 < least.median < late.stock_median
    assert (same.median, same.outcome) == (20, "no")
    page = (measured.folder / "report.html").read_text("utf-8")
    assert all(word in page for word in ("median", late.arm, "data:image/png", "ab --folder", RUNS))


def test_every_figure_of_every_arm_is_there_and_its_costs_are_counted(measured: Measured) -> None:
    about, runs = read(measured.folder)
    assert {(row.figure, row.arm) for row in measured.judged.rows if "system" not in row.figure} == {
        (figure, arm)
        for arm in about.arms[1:]
        for figure in (*METRICS_NAMED, "load time", "CPU time / asked", "wake-ups / asked", "threads", "memory")
    }
    assert all(run.cost.cpu_ns and run.cost.wakeups and run.cost.threads and run.cost.rss_bytes for run in runs)
    blocks = range(len(runs) // len(about.arms))
    assert sorted((run.block, run.arm) for run in runs) == [(n, arm) for n in blocks for arm in sorted(about.arms)]
    assert len({tuple(run.arm for run in runs if run.block == block) for block in range(3)}) > 1
    if counted := [run for run in runs if run.counted]:  # where perf may
        assert {run.block for run in counted} == {3, 4, 5}
        assert min(run.syscalls for run in counted if run.syscalls is not msgspec.UNSET) > 20
    else:
        assert "system calls are not counted" in about.notes[-1]


def test_nothing_is_left_and_the_users_folder_is_as_it_was(measured: Measured) -> None:
    assert [each.name for each in measured.own.path.parent.iterdir()] == [measured.own.path.name]
    assert processes_of(measured.own.path) == []


def test_what_was_kept_is_judged_again_and_gives_the_same(measured: Measured, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(measured.folder, tmp_path / "copied"))
    (folder / "report.html").unlink()
    assert judged(folder) == measured.judged
    assert (folder / "report.html").exists()
    with (folder / RUNS).open("a") as stream:
        stream.write('{"half')
    assert judged(folder) == measured.judged
    (folder / RUNS).write_text('{"schema": 2}\n')
    with pytest.raises(BadResult, match=f"{RUNS}, line 1: of schema 2"):
        judged(folder)
    (folder / ABOUT).unlink()
    with pytest.raises(BadResult, match="not the folder of an A/B"):
        judged(folder)


@pytest.mark.parametrize("ready", ["tcp:{port}", "url:http://localhost:{port}/", "line:^listen", None])
def test_each_way_to_be_ready_is_waited_for(answerer: Answerer, ready: str | None) -> None:
    wanted = parse_ready(ready and ready.format(port=answerer.port))
    command = [str(answerer.path), f"localhost:{answerer.port}", "1ms"]
    with serving(command, "it", wanted, PATIENCE_S, Stop()) as child:
        if ready is None:  # that it lived for a second says nothing on a busy machine
            wait_until(lambda: b"listening" in child.stdout)
        socket.create_connection(("localhost", answerer.port), timeout=PATIENCE_S).close()
    assert child.process.returncode == -signal.SIGTERM


BAD: dict[str, tuple[dict[str, Any], type[NanonapError], str]] = {
    "never ready": (
        {"ready": "line:^nosuch", "within": "300ms"},
        errors.NeverReady,
        "stock: not ready within 0.3 s",
    ),
    "dies at once": (
        {"run": "{binary} localhost:1 no"},
        errors.ServiceDied,
        "exit status 2; its last .*duration",
    ),
    "is none": ({"run": "/nosuch {binary}"}, errors.ServiceDied, "/nosuch cannot be started"),
    "dies under load": ({"load": "die"}, errors.ServiceDied, "under its load: exit status 3.*answerer: told to die"),
    "load fails": ({"load": "fail"}, errors.LoadFailed, "exit status 1; its last words: load: told to fail"),
    "load hangs": ({"load": "hang", "limit": "300ms"}, errors.LoadFailed, "still running after 0.3 s"),
    "no load": ({"load": "/nosuch"}, errors.LoadFailed, "/nosuch cannot be started"),
    "no metric": ({"metrics": ["p99=p99 (.*)"]}, errors.MetricMissing, "metric p99: its pattern is not in .*asked"),
    "no such place": ({"metrics": ["p99=json:asked.p99"]}, errors.MetricMissing, "JSON has no asked.p99"),
    "no number": ({"metrics": ["what=(asked)"]}, errors.MetricMissing, "'asked' is no number"),
    "no program": ({"binary": Path("/nosuch")}, InputNotFound, "/nosuch"),
    "not Go": ({"binary": Path("/bin/true")}, NotGo, "/bin/true"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_case_has_an_end_of_its_own_and_leaves_nothing(own: Answerer, tmp_path: Path, case: str) -> None:
    options, kind, told = BAD[case]
    if options.get("load") in ("die", "fail", "hang"):
        options = options | {"load": own.load(str(options["load"]))}
    with pytest.raises(kind, match=told) as raised:
        run_ab(own.asked(**options, out=tmp_path / "out"))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
    assert processes_of(own.path) == []


def test_a_port_that_is_taken_is_told_before_the_service_starts(answerer: Answerer, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", answerer.port))
        taken.listen()
        with pytest.raises(errors.PortTaken, match=f"localhost:{answerer.port} is taken"):
            run_ab(answerer.asked(run="{binary} localhost:1 nothing", out=tmp_path / "out"))


def test_a_patched_program_is_refused(answerer: Answerer, tmp_path: Path) -> None:
    out = tmp_path / "patched"
    patch_as(answerer.path, variant_of("netpoll"), out)
    with pytest.raises(AlreadyPatched, match="stock"):
        run_ab(answerer.asked(binary=out, out=tmp_path / "out"))


def test_an_error_in_the_midst_keeps_what_was_measured(answerer: Answerer, tmp_path: Path) -> None:
    """A load that fails in its fifth round: the trial, and four runs."""
    count = tmp_path / "count"
    script = f"echo x >> {count}; [ $(wc -l < {count}) -lt 6 ] && exec {answerer.load()}"
    with pytest.raises(errors.LoadFailed, match=r"runs kept: 4, shown by `.*ab --folder"):
        run_ab(answerer.asked(load=f"sh -c '{script}'", out=tmp_path / "out"))
    found = judged(tmp_path / "out")
    assert "cut short: 4 of 6 runs were made" in found.warnings
    assert any("ended early: the load" in each for each in found.warnings)


def test_ctrl_c_ends_service_and_load_and_what_was_measured_is_shown(own: Answerer, tmp_path: Path) -> None:
    """In the third round: the trial and a run are over, and the load hangs."""
    count, out = tmp_path / "count", tmp_path / "out"
    load = f"sh -c 'echo x >> {count}; [ $(wc -l < {count}) -lt 3 ] || exec sleep 1000'"
    options = {"binary": own.path, "run": own.asked().run, "ready": f"tcp:{own.port}", "load": load, "out": out}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [INVOKE, "ab", *words, "--arms", "control"]
    with warm.start(command) as process:
        try:
            wait_until(lambda: process.poll() is not None or (count.exists() and len(count.read_text()) == 6))
            process.send_signal(signal.SIGINT)
            _, told = process.communicate()
        finally:
            process.kill()
    assert process.returncode == Interrupted.exit_code, told
    assert re.search(r"interrupted by SIGINT; runs kept: 1, shown by `\S*invoke ab --folder \S+`", told)
    assert processes_of(own.path) == []
    shown = warm.run([INVOKE, "ab", "--folder", out, "--json"])
    assert json.loads(shown.stdout)["about"]["partial"]


USAGE: list[tuple[dict[str, object], str]] = [
    ({"run": "{binary"}, "write {binary}"),
    ({"run": "'{binary}"}, "not a command"),
    ({"load": "  "}, "--load is empty"),
    ({"run": None}, "name either --binary"),
    ({"pid": 1}, "name either --binary"),
    ({"ready": "tcp:0"}, "write tcp:PORT"),
    ({"ready": "line:("}, "--ready line:"),
    ({"ready": "url:file:///etc/passwd"}, "write tcp:PORT"),
    ({"metrics": ["x"]}, "write NAME=REGEX"),
    ({"metrics": ["x=("]}, "not a regular expression"),
    ({"metrics": ["x=1", "x=2"]}, "each name once"),
    ({"per": "x"}, "no metric of that name"),
    ({"runs": 2}, "between 3 and"),
    ({"arms": "stock"}, "nothing to compare"),
    ({"arms": "floor"}, "of the lab's own program"),
    ({"arms": "nosuch"}, "no such arm"),
    ({"limit": "1 hour"}, "not a duration"),
]


@pytest.mark.parametrize(("options", "told"), USAGE, ids=[told for _, told in USAGE])
def test_options_that_make_no_sense_are_refused(answerer: Answerer, options: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        run_ab(answerer.asked(**options))


def test_the_errors_have_statuses_of_their_own() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, NanonapError)]
    own = [each.exit_code for each in kinds if each is not NanonapError]
    assert sorted(own) == list(range(80, 86))
