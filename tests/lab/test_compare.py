"""Two results beside each other: what may be compared, what differs, and whether the ratios to stock agree."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nanonap.lab.ground.errors import BadResult, NotComparable
from nanonap.lab.judge.compare import Comparison, Row, compare
from tests import warm
from tests.lab.made import FakeRun, write_result

US = 1_000
BLOCKS = 12
AT = 100 * US


def _runs(medians: dict[str, int], *, shift: int = 0, load: str = "quiet", **change: Any) -> list[FakeRun]:
    """Runs whose medians (µs) lie within 2 % of the arm's, in another order for another ``shift``."""
    return [
        FakeRun(
            arm, {AT: [median * (980 + 4 * ((block + shift) % 11)) + shift] * 5}, block, load=load, change=dict(change)
        )
        for arm, median in medians.items()
        for block in range(BLOCKS)
    ]


def _compared(
    folder: Path, a: list[FakeRun], b: list[FakeRun], about: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
) -> Comparison:
    return compare(write_result(folder / "a", a, about[0]), write_result(folder / "b", b, about[1]))


def _of(compared: Comparison, arm: str) -> Row:
    return next(row for row in compared.rows if row.arm == arm)


def test_a_repeated_result_agrees_though_the_machine_was_slower(tmp_path: Path) -> None:
    # All of B takes a quarter longer; ratios to stock are what they were.
    a = _runs({"stock": 1_100, "usleep": 1_110, "netpoll": 150})
    b = _runs({"stock": 1_375, "usleep": 1_387, "netpoll": 188}, shift=3)
    compared = _compared(tmp_path, a, b)
    assert compared.verdict.outcome == "yes"
    assert "2 of 2 ratios have overlapping intervals; largest difference 0." in compared.verdict.sentence
    netpoll = _of(compared, "netpoll")
    assert netpoll.over_stock_a == pytest.approx(150 / 1_100, rel=0.01)
    assert netpoll.over_stock_b == pytest.approx(188 / 1_375, rel=0.01)
    assert netpoll.b_over_a == pytest.approx(1.25, rel=0.01)
    assert netpoll.b_over_a_ci is not None
    assert netpoll.b_over_a_ci[0] < netpoll.b_over_a < netpoll.b_over_a_ci[1]
    assert netpoll.overlap is True
    assert (_of(compared, "stock").over_stock_a, _of(compared, "stock").overlap) == (None, None)


def test_the_interval_of_b_over_a_takes_the_two_for_independent(tmp_path: Path) -> None:
    # Were the same runs drawn in both, their ratio would be 1 in every draw.
    runs = _runs({"stock": 1_100, "netpoll": 150})
    same = _runs({"stock": 1_100, "netpoll": 150})
    for run in same:
        run.actual = {AT: [each + 1 for each in run.actual[AT]]}
    low_high = _of(_compared(tmp_path, runs, same), "netpoll").b_over_a_ci
    assert low_high is not None
    low, high = low_high
    assert low < 0.995
    assert high > 1.005


@pytest.mark.parametrize(
    ("netpoll_us", "outcome", "overlap"), [(150, "yes", True), (158, "no", False), (175, "no", False)]
)
def test_a_ratio_that_moved_is_said(tmp_path: Path, netpoll_us: int, outcome: str, overlap: bool) -> None:
    a = _runs({"stock": 1_100, "netpoll": 150})
    compared = _compared(tmp_path, a, _runs({"stock": 1_100, "netpoll": netpoll_us}, shift=5))
    assert compared.verdict.outcome == outcome
    assert _of(compared, "netpoll").overlap is overlap
    assert _of(compared, "netpoll").difference == pytest.approx(netpoll_us / 150 - 1, abs=0.015)


def test_one_ratio_in_twenty_may_miss_but_none_by_more_than_a_tenth(tmp_path: Path) -> None:
    arms = {f"arm{number:02d}": 200 + number for number in range(20)}

    def outcome(name: str, **moved: int) -> str:
        b = _runs({"stock": 1_100, **arms, **moved}, shift=4)
        return _compared(tmp_path / name, _runs({"stock": 1_100, **arms}), b).verdict.outcome

    assert outcome("one", arm03=215) == "yes"
    assert outcome("two", arm03=215, arm04=216) == "no"
    assert outcome("far", arm03=230) == "no"


def test_only_the_quiet_condition_without_quota_is_judged(tmp_path: Path) -> None:
    a = _runs({"stock": 1_100, "netpoll": 150}) + _runs({"stock": 1_100, "netpoll": 300}, load="burn:1")
    b = _runs({"stock": 1_100, "netpoll": 150}, shift=2) + _runs({"stock": 1_100, "netpoll": 900}, load="burn:1")
    compared = _compared(tmp_path, a, b)
    assert compared.verdict.outcome == "yes"
    assert [(row.main, row.overlap) for row in compared.rows if row.arm == "netpoll"] == [(True, True), (False, False)]


def test_single_runs_settle_nothing_and_a_result_without_stock_is_not_judged(tmp_path: Path) -> None:
    a, b = (_runs({"stock": 1_100, "netpoll": 150}, shift=shift) for shift in (0, 1))
    single = _compared(tmp_path / "single", a[::BLOCKS], b[::BLOCKS])
    assert single.verdict.outcome == "not settled"
    assert any("fewer than 10 runs in 2 of 2 cells (least: 1)" in text for text in single.warnings)
    alone = _compared(tmp_path / "alone", a[BLOCKS:], b[BLOCKS:])
    assert alone.verdict.outcome == "not measured"


def test_what_differs_is_named(tmp_path: Path) -> None:
    a = _runs({"stock": 1_100, "netpoll": 150})
    b = _runs({"stock": 1_100, "netpoll": 151}, go_version="1.26.5")
    for run in b:
        run.change["host"] = {"kernel": "6.1.0", "cpu_model": "A CPU", "tool": "0.2.0"}
        run.change["binary_sha256"] = ("1" if run.arm == "netpoll" else "0") * 64
    compared = _compared(tmp_path, a, b, ({"seed": 1, "mode": "full"}, {"seed": 2, "mode": "full"}))
    named = {each.what: (each.a, each.b) for each in compared.differing}
    assert named == {
        "kernel": ("6.18.0", "6.1.0"),
        "timer slack ns": (50_000, None),
        "tool": (None, "0.2.0"),
        "Go release": ("1.27.3", "1.26.5"),
        "binary of netpoll": ("0" * 12, "1" * 12),
        "seed": (1, 2),
    }


def test_partial_results_are_compared_with_a_warning_and_lone_cells_are_left_out(tmp_path: Path) -> None:
    a = _runs({"stock": 1_100, "netpoll": 150, "usleep": 1_100})
    compared = _compared(tmp_path, a, _runs({"stock": 1_100, "netpoll": 151}, partial=True))
    assert "B is partial: it was cut short" in compared.warnings
    assert "1 of 3 cells are in A only, and are left out (usleep)" in compared.warnings
    assert [row.arm for row in compared.rows] == ["stock", "netpoll"]


def test_what_cannot_be_compared_is_refused_with_the_reason(tmp_path: Path) -> None:
    runs = _runs({"stock": 1_100})
    a = write_result(tmp_path / "a", runs)
    link = tmp_path / "latest"
    link.symlink_to("a")
    with pytest.raises(NotComparable, match="are one folder"):
        compare(a, link)
    with pytest.raises(NotComparable, match="is a copy of"):
        compare(a, Path(shutil.copytree(a, tmp_path / "copy")))
    other = write_result(tmp_path / "other", _runs({"netpoll": 150}))
    with pytest.raises(NotComparable, match=r"nothing in common: .*\(stock at 100 µs; netpoll at 100 µs\)"):
        compare(a, other)
    mark = {"backend": {"name": "guest", "why": "asked for", "mark": "measured in an emulated machine"}}
    guest, again = (write_result(tmp_path / f"guest{shift}", _runs({"stock": 9_000 + shift}), mark) for shift in (0, 1))
    for pair in ((a, guest), (guest, a)):
        with pytest.raises(NotComparable, match=r"guest0 was measured in an emulated machine and .*a was not"):
            compare(*pair)
    assert compare(guest, again).rows
    with pytest.raises(BadResult, match="no such result folder"):
        compare(a, tmp_path / "missing")
    (guest / "runs.jsonl").write_text((guest / "runs.jsonl").read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(BadResult, match="schema 2"):
        compare(a, guest)


def _invoke(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return warm.run([warm.INVOKE, "compare", *words])


def test_the_task_prints_tables_and_ends_with_the_verdict_or_gives_one_document(tmp_path: Path) -> None:
    a = write_result(tmp_path / "first", _runs({"stock": 1_100, "netpoll+slack1+quantum": 150}))
    b = write_result(tmp_path / "second", _runs({"stock": 1_100, "netpoll+slack1+quantum": 151}, shift=1))
    shown = _invoke(a, b)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "1 of 1 ratios have overlapping intervals; largest difference" in shown.stdout.splitlines()[-1]
    row = next(line for line in shown.stdout.splitlines() if "netpoll+slack1+quantum" in line)
    assert "149 [148, 151] µs" in row
    assert row.rstrip().endswith("yes")
    document = json.loads(_invoke(a, b, "--json").stdout)
    assert document["verdict"]["outcome"] == "yes"
    assert [cell["arm"] for cell in document["cells"]] == ["stock", "netpoll+slack1+quantum"]
    refused = _invoke(a, a)
    assert (refused.returncode, refused.stdout) == (45, "")
    assert "are one folder" in refused.stderr
