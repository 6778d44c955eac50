"""Verdicts are read from a test binary's own words, and a difference is never explained away."""

import pytest

from nanonap.base.errors import UsageError
from nanonap.trials.corpus.arms import chosen_arms
from nanonap.trials.corpus.page import markdown_of
from nanonap.trials.corpus.report import Report
from nanonap.trials.corpus.row import Result, Row
from nanonap.trials.corpus.verdicts import Difference, differing, ending, read_events
from nanonap.trials.errors import CorpusChanged, CorpusIncomplete


def test_subtests_and_skips_are_read_and_a_test_that_never_ended_is_told() -> None:
    events = [
        '{"Action":"start","Package":"p"}',
        '{"Action":"run","Package":"p","Test":"TestA"}',
        '{"Action":"run","Package":"p","Test":"TestA/one"}',
        '{"Action":"output","Package":"p","Test":"TestA/one","Output":"--- FAIL: TestB (0.00s)\\n"}',
        '{"Action":"pass","Package":"p","Test":"TestA/one","Elapsed":0}',
        '{"Action":"skip","Package":"p","Test":"TestA","Elapsed":0}',
        '{"Action":"run","Package":"p","Test":"TestHangs"}',
        '{"Action":"fail","Package":"p","Elapsed":1}',
    ]
    assert read_events(events) == {"TestA/one": "pass", "TestA": "skip", "TestHangs": "unfinished"}


@pytest.mark.parametrize(
    ("status", "timed_out", "output", "expected"),
    [
        (0, False, "PASS\n", "exit 0"),
        (1, False, "FAIL\n", "exit 1"),
        (2, False, "flag provided but not defined\n", "exit 2"),
        (2, False, "=== RUN TestX\npanic: oh no\n", "panic"),
        (2, False, "panic: test timed out after 1s\n", "timed out"),
        (2, False, "fatal error: all goroutines are asleep - deadlock!\n", "panic"),
        (0, False, "panic: test timed out after 1s\n", "exit 0"),
        (-9, True, "", "timed out"),
        (-11, False, "", "signal 11"),
    ],
)
def test_an_ending_is_told_from_status_and_output(status: int, timed_out: bool, output: str, expected: str) -> None:
    assert ending(status, timed_out, output) == expected


def test_a_test_that_only_one_arm_ran_differs() -> None:
    stock = {"TestA": "pass", "TestB": "fail", "TestC": "skip"}
    assert differing(stock, {"TestA": "pass", "TestB": "fail", "TestC": "skip"}) == []
    assert differing(stock, {"TestA": "fail", "TestB": "fail"}) == ["TestA", "TestC"]


def test_five_passes_later_do_not_excuse_a_failure_that_stock_never_shows() -> None:
    once = Difference("TestA", ("pass",) * 6, ("fail", *("pass",) * 5))
    assert once.changed
    assert str(once) == "TestA: stock 6 pass; patched 1 fail, 5 pass"
    assert not Difference("TestA", ("pass", "fail", *("pass",) * 4), ("fail",) * 6).changed


def row(result: Result, name: str = "time") -> Row:
    return Row("std", name, "Go 1.27.3", "1.27.3", "netpoll", result, "a | b")


def report(*results: Result) -> Report:
    return Report("2026-01-02T03:04:05+00:00", "1.27.3", ["netpoll"], False, "6.1", 2, list(map(row, results)))


def test_the_exit_status_tells_what_changed_from_what_could_not_be_tried() -> None:
    report(Result.SAME, Result.REFUSED, Result.UNSTABLE, Result.LEFT_OUT).check()
    for untried in (Result.NOT_HERE, Result.STOCK_FAILS, Result.UNEXPECTED):
        with pytest.raises(CorpusIncomplete, match="time"):
            report(Result.SAME, untried).check()
    with pytest.raises(CorpusChanged, match=r"time \(netpoll\)"):
        report(Result.NOT_HERE, Result.CHANGED).check()
    assert (CorpusChanged.exit_code, CorpusIncomplete.exit_code) == (50, 51)


def test_the_markdown_table_keeps_its_columns() -> None:
    page = markdown_of(report(Result.SAME, Result.CHANGED))
    rows = [line for line in page.splitlines() if line.startswith("| time")]
    assert rows[0] == "| time | 1.27.3 | netpoll | same | a \\| b |"
    assert len(rows) == 2


def test_arms_are_chosen_by_name() -> None:
    assert [arm.name for arm in chosen_arms("netpoll, slack,netpoll")] == ["netpoll", "stock+slack1"]
    assert [arm.name for arm in chosen_arms("all")][-2:] == ["stock+slack1", "live"]
    with pytest.raises(UsageError, match=r"choose from usleep, sleep, netpoll, netpoll\+slack1"):
        chosen_arms("neptoll")
