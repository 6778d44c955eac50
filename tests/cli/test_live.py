"""inject, eject and status as a user types them."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import BuildProgram
from tests.patcher.conftest import Invoke
from tests.patcher.live.awkward import awkward, build_awkward
from tests.patcher.live.targets import Running, running
from tests.patcher.test_bad_input import assert_refused
from tests.patience import wait_until

#: No other worker's process has it in its command line.
_OWN = f"{1_000_000 + os.getpid()}s"


@pytest.fixture
def target(build_program: BuildProgram) -> Iterator[Running]:
    with running(build_program("survive"), "-mode", "wait", "-sleepers", "5", "-for", _OWN) as process:
        yield process
        assert process.process.poll() is None


def test_in_told_and_out(invoke: Invoke, target: Running) -> None:
    pid = str(target.pid)
    answer = invoke("inject", pid, "--slack-ns", "1")
    assert (answer.status, answer.err) == (0, "")
    for said in (
        "injected (netpoll)",
        "stood still",
        "newly calls   epoll_pwait2",
        f"eject {pid}",
        "timer slack   1 ns",
    ):
        assert said in answer.out
    told = json.loads(invoke("status", pid, "--json").out)
    assert (told["state"], told["go"], told["slack_ns"]) == ("injected", "go1.27.3", 1)
    assert f"{pid}  go1.27.3    injected" in invoke("status").out
    out = json.loads(invoke("eject", pid, "--json").out)
    assert (out["before"], out["after"], out["pid"]) == ("injected", "stock", target.pid)
    assert_refused(invoke("eject", pid), 71, "nothing to undo")


def test_several_by_a_pattern(invoke: Invoke, target: Running) -> None:
    pattern = f"{target.path}.*-for {_OWN}"
    told = json.loads(invoke("inject", "--match", pattern, "--json").out)["processes"]
    assert [(each["pid"], each["after"]) for each in told] == [(target.pid, "injected")]
    assert f"{target.pid}  ejected" in invoke("eject", "--match", pattern).out
    assert_refused(invoke("eject", "--match", pattern), 60, "no such process is injected")
    assert_refused(invoke("status", "--match", "("), 2, "not a regular expression")


@pytest.mark.long
def test_of_several_one_that_fails_is_named_and_the_others_are_done(
    invoke: Invoke, target: Running, tmp_path: Path
) -> None:
    with awkward(build_awkward(tmp_path / "built"), "shared") as other:
        answer = invoke("inject", "--match", f"^{target.path}.* -for {_OWN}|^{tmp_path}.* shared$", "--json")
        assert (answer.status, answer.err) == (
            75,
            "nanonap: 1 of 2 processes failed; the answer says why, process by process\n",
        )
        told = {each["pid"]: each for each in json.loads(answer.out)["processes"]}
        assert told[target.pid]["after"] == "injected"
        assert told[other.pid]["exit_status"] == 72
        assert "cannot be written" in told[other.pid]["error"]


def test_for_a_while_until_ctrl_c(target: Running, invoke: Invoke) -> None:
    process = warm.start([warm.INVOKE, "inject", str(target.pid), "--for", "1000s"])
    wait_until(lambda: "note" in process.said()[0])
    assert json.loads(invoke("status", str(target.pid), "--json").out)["state"] == "injected"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, "interrupted" in err) == (130, True)
    assert "ejected" in out
    assert json.loads(invoke("status", str(target.pid), "--json").out)["state"] == "stock"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("inject",), "name exactly one of"),
        (("eject", "1", "--all"), "name exactly one of"),
        (("inject", "x"), "x: not the number of a process"),
        (("inject", "1", "--for", "1s", "--dry-run"), "exclude each other"),
        (("inject", "1", "--quantum", "800000", "--spin", "40000"), "exclude each other"),
        (("status", "1", "--match", "x"), "exclude each other"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_what_cannot_be_meant(invoke: Invoke, words: tuple[str, ...], said: str) -> None:
    assert_refused(invoke(*words), 2, said)


def test_a_process_that_is_none(invoke: Invoke) -> None:
    assert_refused(invoke("inject", str(2**22 + 1)), 60, "there is none")
    assert Path("/proc/1").exists()
