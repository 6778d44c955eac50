"""What is drawn: the same figures in every form, a page that stands alone, text that cannot become markup."""

import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.arms import ARM_NAMES
from bench.figures.distributions import ecdf_name, percentile_name
from bench.found_tables import mode_tables
from bench.look import nice_ticks, short
from bench.main import redraw
from bench.report import as_markdown, summarize, write_report
from bench.tables import asked, condition_title, full_tables, time_with
from bench.terminal import print_summary, terminal_tables
from bench.wording import ARMS as ARMS_IN_WORDS
from bench.wording import arm_lines, headline
from nanonap.errors import UsageError
from nanonap.terminal import answers
from tests.bench.benchfmt_grammar import parse
from tests.bench.made import MEDIANS_US, FakeRun, example_runs, write_result

ABOUT = {"command": "invoke bench --quick --seed 7", "seed": 7}
Written = tuple[Path, dict[str, Any]]
CONDITIONS = (("none", "quiet"), ("50%", "quiet"), ("none", "sleepers:50"))
FIGURES = {
    *(name(*condition) for name in (ecdf_name, percentile_name) for condition in CONDITIONS),
    *("problem", "forest", "heat", "drift", "price"),
}
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_result(tmp_path / "result", example_runs(), ABOUT)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A folder with its report, and the summary: drawn once, and not to be changed."""
    folder = write_result(tmp_path_factory.mktemp("written") / "result", example_runs(), ABOUT)
    return folder, write_report(folder)


def test_a_report_has_its_summary_figures_and_page(written: Written) -> None:
    folder, _ = written
    figures = {path.name for path in folder.glob("*.png")}
    assert figures == {f"{name}.png" for name in FIGURES}
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in figures)
    assert not list(folder.glob(".*"))


def test_redrawing_gives_the_same_figures(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_report(folder)
    elsewhere = tmp_path / "on another machine"
    folder.rename(elsewhere)
    (elsewhere / "summary.json").unlink()
    redraw(elsewhere, "html")
    assert capsys.readouterr().out.strip() == str(elsewhere / "report.html")
    assert json.loads((elsewhere / "summary.json").read_text()) == json.loads(json.dumps(first))
    redraw(elsewhere, "json")
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(first))


def test_printing_writes_nothing_into_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in folder.iterdir())
    for form in ("json", "markdown", "benchfmt"):
        redraw(folder, form)
        assert capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == before


def test_an_unknown_format_is_refused_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(UsageError, match="html, json, markdown, benchfmt"):
        redraw(folder, "pdf")


class _Page(HTMLParser):
    """Collects what a page loads and says."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _page(folder: Path) -> _Page:
    page = _Page()
    page.feed((folder / "report.html").read_text())
    return page


def test_the_page_needs_nothing_but_itself(written: Written) -> None:
    folder, _ = written
    page = _page(folder)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    sources = [value for _, attributes in page.tags if (value := attributes.get("src"))]
    assert len(sources) == 2 * len(FIGURES)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    links = [value for _, attributes in page.tags if (value := attributes.get("href"))]
    assert {"runs.jsonl", "samples.parquet", "summary.json", "bench.json", "problem.png"} <= set(links)
    assert all((folder / link).is_file() for link in links)
    text = (folder / "report.html").read_text()
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert "://" not in re.sub(r"data:image/png;base64,[^\"]*", "", text)


def test_every_image_says_what_is_seen_with_its_key_figures(written: Written) -> None:
    folder, _ = written
    alts = [attributes["alt"] or "" for tag, attributes in _page(folder).tags if tag == "img"]
    assert len(alts) == 2 * len(FIGURES)
    assert all(re.search(r"\d", alt) and "netpoll+slack1" in alt for alt in alts if not alt.startswith("Time asked"))
    assert any("stock Go: 1.10 ms for 100 µs" in alt for alt in alts)
    assert any("netpoll+slack1 0.13 [0.13, 0.13]" in alt for alt in alts)


def test_the_page_names_the_binaries_and_the_raw_files_by_their_hashes(written: Written) -> None:
    folder, _ = written
    said = "".join(_page(folder).text)
    for name in ("runs.jsonl", "samples.parquet", "bench.json", "summary.json"):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() in said


def test_the_headline_is_the_ratio_with_its_interval_or_what_was_measured(written: Written, tmp_path: Path) -> None:
    answer = headline(written[1])
    assert answer.sentence.startswith("In stock Go a sleep of 100 µs lasts 7.81 × [7.81, 7.81] as long as in the patch")
    assert "1.10 ms and 141 µs" in answer.behind
    alone = write_result(tmp_path / "alone", [FakeRun("netpoll", {200_000: [250_000]})])
    assert headline(summarize(alone)).sentence == "A sleep of 200 µs lasts 250 µs in netpoll"


def test_every_arm_that_was_measured_is_told_in_words(written: Written) -> None:
    lines = dict(arm_lines(written[1]))
    assert list(lines) == [arm for arm in ARM_NAMES if arm in MEDIANS_US]
    assert set(ARM_NAMES) <= set(ARMS_IN_WORDS)


def test_several_clusters_and_hiccups_are_told_where_a_summary_knows_them(written: Written) -> None:
    summary = copy.deepcopy(written[1])
    assert not mode_tables({**summary, "cells": [{**cell, "modes": []} for cell in summary["cells"]]})
    summary["cells"][1]["modes"] = [{"at_ns": 132_000, "share": 0.82}, {"at_ns": 1_100_000, "share": 0.18}]
    summary["control"] = {
        **{"runs": 3, "n": 600, "late_p50_ns": 60_000, "late_p99_ns": 90_000},
        **{"hiccups": 6, "hiccup_share": 0.01, "blocks": [1, 2]},
    }
    text = as_markdown(summary)
    assert "2 modes: 132 µs 82 %, 1.10 ms 18 %" in text
    assert "| 6 | 1 % | 1, 2 |" in text


def test_the_page_says_verdicts_before_tables_and_how_to_repeat_it(written: Written) -> None:
    folder, summary = written
    said = " ".join(_page(folder).text)
    assert said.index(headline(summary).sentence) < said.index(summary["verdicts"][0]["sentence"])
    assert said.index(summary["verdicts"][0]["sentence"]) < said.index("× stock")
    for verdict in summary["verdicts"]:
        assert verdict["sentence"] in said
    for warning in summary["warnings"]:
        assert warning in said
    assert "invoke bench --quick --seed 7" in said
    for arm in MEDIANS_US:
        assert arm in said


def test_text_from_a_foreign_result_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = example_runs(1)
    for run in runs:
        if run.arm == "netpoll":
            run.arm = EVIL
        run.change = {"host": {"kernel": EVIL, "cpu_model": "[bold]"}, "go_version": "|"}
    folder = write_result(tmp_path / "result", runs, {"command": EVIL, "notes": [EVIL, "[red]note"]})
    print_summary(write_report(folder), "[bold]where")
    shown = capsys.readouterr().out
    assert "[red]note" in shown
    assert "[bold]where" in shown
    page = _page(folder)
    assert "script" not in {tag for tag, _ in page.tags}
    assert EVIL in "".join(page.text)
    redraw(folder, "benchfmt")
    assert len({parts["arm"] for _, parts, _, _ in parse(capsys.readouterr().out).results}) == len(MEDIANS_US)


def test_benchfmt_is_a_line_per_run_with_its_median(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    redraw(folder, "benchfmt")
    parsed = parse(capsys.readouterr().out)
    assert parsed.configuration["goos"] == "linux"
    assert parsed.configuration["cpu"] == "A CPU"
    assert parsed.units["overshoot-ns/op"] == {"better": "lower", "assume": "nothing"}
    assert {unit for *_, values in parsed.results for unit in values} == set(parsed.units)
    wanted = {"arm": "netpoll+slack1", "requested": "100us", "quota": "none", "load": "quiet"}
    own = [(processors, values) for _, parts, processors, values in parsed.results if parts == wanted]
    assert own == [(2, {"ns/op": 141_000, "overshoot-ns/op": 41_000, "cpu-ns/sleep": 200_000})] * 3


def test_markdown_tables_have_as_many_cells_in_every_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    redraw(folder, "markdown")
    text = capsys.readouterr().out
    assert "## Quiet, no quota" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_the_terminal_shows_the_first_condition_in_full_and_the_others_in_short(written: Written) -> None:
    tables = terminal_tables(written[1])
    assert [table.title for table in tables] == [
        "Quiet, no quota",
        "Quiet, quota 50% of a CPU (period 100 ms)",
        "The price: 50 sleepers, none in step, no quota",
    ]
    assert len(tables[0].sections) == 2
    assert "30% to 30%" in " ".join(tables[1].notes)


def test_every_row_has_a_cell_for_every_column(written: Written) -> None:
    summary = written[1]
    for table in [*full_tables(summary), *terminal_tables(summary)]:
        for section in table.sections:
            assert all(len(row) == len(table.columns) for row in section.rows)


def test_the_terminals_lines_fit_and_nothing_is_cut(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    summary = written[1]
    answers.cache_clear()
    print_summary(summary, "report: here")
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 112
    for verdict in summary["verdicts"]:
        assert verdict["question"] in shown


def test_long_names_and_every_column_fit_the_terminal_too(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    summary = copy.deepcopy(written[1])
    for row in [*summary["cells"], *summary["costs"]]:
        row["arm"] = "netpoll+slack1+quantum" if row["arm"] == "netpoll" else row["arm"]
    for cell in summary["cells"]:
        cell["p99_ci"] = [157_000.0, 12_345_678.0]
    for row in summary["costs"]:
        row |= {"syscalls_per_sleep": 12.34, "epoll_per_second": 23_557.0, "counter": "perf", "cpu_over_rebuilt": 1.01}
    answers.cache_clear()
    print_summary(summary, "report: here")
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "netpoll+slack1+quantum" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 112


def test_arms_are_shown_in_their_own_order(written: Written) -> None:
    rows = full_tables(written[1])[0].sections[0].rows
    assert [row[0] for row in rows] == [arm for arm in ARM_NAMES if arm in MEDIANS_US]


def test_one_arm_and_one_duration_make_a_report_too(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "result", [FakeRun("netpoll", {100_000: [150_000]})])
    write_report(folder)
    assert {path.stem for path in folder.glob("*.png")} == {
        name("none", "quiet") for name in (ecdf_name, percentile_name)
    }


@pytest.mark.parametrize(
    ("quota", "load", "title"),
    [
        ("none", "quiet", "Quiet, no quota"),
        ("50%", "burn:1", "Beside 1 CPU burner, quota 50% of a CPU (period 100 ms)"),
        ("25%/10ms", "burn:3", "Beside 3 CPU burners, quota 25% of a CPU (period 10 ms)"),
    ],
)
def test_conditions_are_titled_for_a_person(quota: str, load: str, title: str) -> None:
    assert condition_title({"quota": quota, "load": load}) == title


def test_an_interval_is_written_in_its_times_unit() -> None:
    assert time_with(409_000, [157_000, 1_070_000]) == "409 [157, 1070] µs"
    assert time_with(-2_790, [-12_700, 9_080]) == "−2.79 [−12.7, 9.08] µs"
    assert time_with(1_000_000, None) == "1.00 ms"
    assert time_with(None, [1, 2]) == "–"


def test_durations_are_written_with_a_unit() -> None:
    assert [asked(value) for value in (50_000, 1_000_000, 2_500_000, 10**9, 7)] == [
        "50 µs",
        "1 ms",
        "2.5 ms",
        "1 s",
        "7 ns",
    ]
    assert [short(value) for value in (0, 5e4, 2.5e6, 1e9)] == ["0", "50 µs", "2.5 ms", "1 s"]


@pytest.mark.parametrize(("low", "high"), [(5e4, 5e6), (1e8, 1.005e8), (1e3, 1e10), (9e5, 1.2e6)])
def test_ticks_are_few_and_within_the_axis(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)
