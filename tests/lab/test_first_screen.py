"""What a bench prints when it ends: one screen that answers, with nothing cut off at any width."""

import re
from pathlib import Path

import pytest

from nanonap.base.terminal import answers
from nanonap.lab.judge.analysis import Summary, analyse
from nanonap.lab.judge.disturbance import Disturbed, disturbed
from nanonap.lab.plan.arms import ARM_NAMES, CONTROL, DEFAULT_ARMS
from nanonap.lab.show.first_screen import print_first_screen
from nanonap.lab.show.terminal import print_summary
from nanonap.lab.stats.control import Control
from nanonap.lab.store.read import load
from tests.lab.made import FakeRun, write_result

ASKED_NS = (50_000, 100_000, 500_000, 1_000_000, 5_000_000, 100_000_000)
CONDITIONS = [(quota, load) for quota in ("none", "50%") for load in ("quiet", "burn:1")]


def _summary(folder: Path, arms: tuple[str, ...], blocks: int = 2) -> Summary:
    """As of a bench with the default conditions; an arm's sleeps are the later the further down the list it stands."""
    runs = [
        FakeRun(arm, {each: [each + 10_000 * (1 + place)] * 3 for each in ASKED_NS}, block, quota=quota, load=kind)
        for place, arm in enumerate(arms)
        for block in range(blocks)
        for quota, kind in CONDITIONS
    ]
    runs += [
        FakeRun(arm, {1_000_000: [1_020_000] * 50}, block, load="sleepers:50")
        for arm in arms
        for block in range(blocks)
        if arm != CONTROL
    ]
    return analyse(load(write_result(folder, runs))).summary


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Summary]:
    folder = tmp_path_factory.mktemp("results")
    return {name: _summary(folder / name, arms) for name, arms in (("default", DEFAULT_ARMS), ("full", ARM_NAMES))}


def _shown(summary: Summary, columns: int, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    patch.setenv("COLUMNS", str(columns))
    patch.setenv("FORCE_COLOR", "1")  # as into a terminal: a pipe has no width
    answers.cache_clear()
    print_first_screen(summary, Disturbed(3, 40), Path("results/a"), Path("results/a/report.html"))
    answers.cache_clear()
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["default", "full"])
def test_it_is_forty_lines_at_a_hundred_columns(
    summaries: dict[str, Summary], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = _shown(summaries[name], 100, monkeypatch, capsys)
    lines = shown.splitlines()
    assert len(lines) <= 40, shown
    assert max(map(len, lines)) <= 100
    for told in ("stock ", "netpoll+slack1 ", "CPU per sleep", "× stock", "disturbed from outside: 3 of 40 runs (8%)"):
        assert told in shown
    assert lines[-1] == "the page:   results/a/report.html"
    told_in_a_line = " ".join(shown.split())
    measured = [each for each in summaries[name].verdicts if each.outcome != "not measured"]
    assert all(each.question in told_in_a_line for each in measured)


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_nothing_is_cut_off_at_any_width(
    summaries: dict[str, Summary], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = _shown(summaries["full"], columns, monkeypatch, capsys)
    assert "…" not in shown
    if columns >= 60:  # narrower than that, names wrap
        assert "netpoll+slack1+quantum" in shown
    first = shown.split("\n\n")[0].splitlines()
    assert all(f" {figure} " in f"{shown} " for figure in ("60.0 µs", "1.01 ms")), first
    assert max(map(len, (line for line in shown.splitlines() if "results/a" not in line))) <= columns


def test_all_tables_show_at_any_width_what_they_show(
    summaries: dict[str, Summary], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("FORCE_COLOR", "1")
    answers.cache_clear()
    print_summary(summaries["full"], "the end")
    answers.cache_clear()
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "netpoll+slack1+quantum" in shown


def test_a_run_is_disturbed_by_the_hypervisor_by_others_or_in_a_block_with_a_hiccup(tmp_path: Path) -> None:
    took = {"took_ns": 1_000_000_000, "host": {"cpus_online": 2}}
    told = [{"steal_ns": 200_000_000}, {"others_cpu_ns": 200_000_000}, {"steal_ns": 10_000_000}, {}, {}]
    runs = [
        FakeRun("stock", {100_000: [200_000]}, block, change={**took, "host_during": each})
        for block, each in enumerate(told)
    ]
    lines = load(write_result(tmp_path / "a", runs)).runs
    hiccup = Control(
        runs=1,
        n=1,
        late_p50_ns=1,
        late_p99_ns=1,
        late_max_ns=1,
        hiccup_from_ns=1,
        hiccups=1,
        hiccup_share=1.0,
        blocks=[4],
    )
    assert disturbed(lines, None) == Disturbed(2, 5)
    assert disturbed(lines, hiccup) == Disturbed(3, 5)
