"""What is drawn: the same figures in every form, a page that stands alone, text that cannot become markup."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec import convert
from msgspec.structs import replace

from nanonap.base.errors import UsageError
from nanonap.base.terminal import answers
from nanonap.lab.judge.analysis import Summary
from nanonap.lab.main import redraw
from nanonap.lab.plan.arms import ARM_NAMES
from nanonap.lab.show.further_tables import cluster_tables
from nanonap.lab.show.plots.distributions import ecdf_name, percentile_name
from nanonap.lab.show.report import as_json, as_markdown, summarize, write_report
from nanonap.lab.show.tables import full_tables
from nanonap.lab.show.terminal import print_summary, terminal_tables
from nanonap.lab.show.wording import ARMS as ARMS_IN_WORDS
from nanonap.lab.show.wording import arm_lines, headline
from nanonap.lab.stats.clusters import Cluster
from nanonap.lab.stats.control import Control
from tests.lab.benchfmt_grammar import parse
from tests.lab.made import MEDIANS_US, FakeRun, example_runs, write_result

ABOUT = {"command": "invoke bench --quick --seed 7", "seed": 7}
Written = tuple[Path, Summary]
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


@pytest.mark.long
def test_redrawing_gives_the_same_figures(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_report(folder)
    elsewhere = tmp_path / "on another machine"
    folder.rename(elsewhere)
    (elsewhere / "summary.json").unlink()
    redraw(elsewhere, "html")
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == str(elsewhere / "report.html")
    assert "The price: 50 sleepers, none in step, no quota" in shown
    assert json.loads((elsewhere / "summary.json").read_text()) == json.loads(as_json(first))
    redraw(elsewhere, "json")
    assert json.loads(capsys.readouterr().out) == json.loads(as_json(first))


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
    cells = [replace(cell, clusters=[]) for cell in written[1].cells]
    assert not cluster_tables(replace(written[1], cells=cells))
    cells[1] = replace(cells[1], clusters=[Cluster(132_000, 0.82), Cluster(1_100_000, 0.18)])
    seen = {"runs": 3, "n": 600, "late_p50_ns": 60_000, "late_p99_ns": 90_000, "late_max_ns": 9, "hiccup_from_ns": 1}
    control = convert({**seen, "hiccups": 6, "hiccup_share": 0.01, "blocks": [1, 2]}, Control)
    text = as_markdown(replace(written[1], cells=cells, control=control))
    assert "2 clusters: 132 µs 82 %, 1.10 ms 18 %" in text
    assert "| 6 | 1 % | 1, 2 |" in text


def test_the_page_says_verdicts_before_tables_and_how_to_repeat_it(written: Written) -> None:
    folder, summary = written
    said = " ".join(_page(folder).text)
    assert said.index(headline(summary).sentence) < said.index(summary.verdicts[0].sentence)
    assert said.index(summary.verdicts[0].sentence) < said.index("× stock")
    for verdict in summary.verdicts:
        assert verdict.sentence in said
    for warning in summary.warnings:
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
    for verdict in summary.verdicts:
        assert verdict.question in shown


def test_long_names_and_every_column_fit_the_terminal_too(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    long = {"netpoll": "netpoll+slack1+quantum"}
    filled = {"syscalls_per_sleep": 12.34, "epoll_per_second": 23_557.0, "counter": "perf", "cpu_over_rebuilt": 1.01}
    cells = [replace(row, arm=long.get(row.arm, row.arm), p99_ci=[157_000.0, 12_345_678.0]) for row in written[1].cells]
    costs = [replace(row, arm=long.get(row.arm, row.arm), **filled) for row in written[1].costs]
    summary = replace(written[1], cells=cells, costs=costs)
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
