"""What is drawn: the same figures in every form, a page that stands alone, text that cannot become markup."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.arms import ARM_NAMES
from bench.look import nice_ticks, short
from bench.main import redraw
from bench.plots import ecdf_name
from bench.report import write_report
from bench.tables import asked, condition_title, full_tables, terminal_tables
from bench.terminal import print_summary
from nanonap.errors import UsageError
from nanonap.terminal import answers
from tests.bench.made import FakeRun, write_result

MEDIANS_US = {"stock": 1100, "usleep": 1101, "netpoll": 180, "netpoll+slack1": 140, "floor": 165, "floor+slack1": 125}
EVIL = "<script>alert(1)</script>"


def _runs(blocks: int = 3) -> list[FakeRun]:
    quiet = [
        FakeRun(
            arm,
            {100_000: [(median + step) * 1_000 for step in range(4)], 5_000_000: [5_100_000 + median]},
            block,
            quota=quota,
            throttling=None if quota == "none" else (10, 3, 5),
        )
        for arm, median in MEDIANS_US.items()
        for block in range(blocks)
        for quota in ("none", "50%")
    ]
    cost = [
        FakeRun(arm, {1_000_000: [1_000_000 + median * 10] * 50}, block, load="sleepers:50", cpu_ns=median * 1000)
        for arm, median in MEDIANS_US.items()
        for block in range(blocks)
    ]
    return quiet + cost


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_result(tmp_path / "result", _runs(), {"command": "invoke bench --quick --seed 7", "seed": 7})


def test_a_report_has_its_summary_figures_and_page(folder: Path) -> None:
    write_report(folder)
    figures = {path.name for path in folder.glob("*.png")}
    expected = {ecdf_name("none", "quiet"), ecdf_name("50%", "quiet"), ecdf_name("none", "sleepers:50")}
    assert figures == {f"{name}.png" for name in expected | {"problem", "price"}}
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


def test_the_page_needs_nothing_but_itself(folder: Path) -> None:
    write_report(folder)
    page = _page(folder)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    links = [value for _, attributes in page.tags for name in ("src", "href") if (value := attributes.get(name))]
    assert links
    assert all(link.startswith("data:image/png;base64,") for link in links)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 5
    assert all(image.get("alt") for image in images)
    text = (folder / "report.html").read_text()
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert "://" not in re.sub(r"data:image/png;base64,[^\"]*", "", text)


def test_the_page_says_verdicts_before_tables_and_how_to_repeat_it(folder: Path) -> None:
    summary = write_report(folder)
    said = " ".join(_page(folder).text)
    assert said.index(summary["verdicts"][0]["sentence"]) < said.index("× stock")
    for verdict in summary["verdicts"]:
        assert verdict["sentence"] in said
    for warning in summary["warnings"]:
        assert warning in said
    assert "invoke bench --quick --seed 7" in said
    for arm in MEDIANS_US:
        assert arm in said


def test_text_from_a_foreign_result_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = _runs(1)
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
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Benchmark")]
    assert all(len(line.split()) == 4 for line in lines)


def test_benchfmt_is_a_line_per_run_with_its_median(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    redraw(folder, "benchfmt")
    lines = capsys.readouterr().out.splitlines()
    configuration = dict(line.split(": ", 1) for line in lines if not line.startswith("Benchmark"))
    assert configuration["goos"] == "linux"
    assert configuration["cpu"] == "A CPU"
    wanted = "BenchmarkSleep/arm=netpoll+slack1/requested=100us/quota=none/load=quiet"
    own = [line.split() for line in lines if line.startswith(f"{wanted} ")]
    assert own == [[wanted, "1", "141000", "ns/op"]] * 3
    form = re.compile(r"BenchmarkSleep/arm=\S+/requested=\w+/quota=(none|[\d.]+%)/load=[\w:]+ 1 \d+ ns/op")
    assert all(form.fullmatch(line) for line in lines if line.startswith("Benchmark"))


def test_markdown_tables_have_as_many_cells_in_every_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    redraw(folder, "markdown")
    text = capsys.readouterr().out
    assert "## Quiet, no quota" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def _summary(folder: Path) -> dict[str, Any]:
    return write_report(folder)


def test_the_terminal_shows_the_first_condition_in_full_and_the_others_in_short(folder: Path) -> None:
    tables = terminal_tables(_summary(folder))
    assert [table.title for table in tables] == [
        "Quiet, no quota",
        "Quiet, quota 50% of a CPU (period 100 ms)",
        "The price: 50 sleepers, no quota",
    ]
    assert len(tables[0].sections) == 2
    assert "30% to 30%" in " ".join(tables[1].notes)


def test_every_row_has_a_cell_for_every_column(folder: Path) -> None:
    summary = _summary(folder)
    for table in [*full_tables(summary), *terminal_tables(summary)]:
        for section in table.sections:
            assert all(len(row) == len(table.columns) for row in section.rows)


def test_the_terminals_lines_fit_and_nothing_is_cut(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = _summary(folder)
    answers.cache_clear()
    print_summary(summary, "report: here")
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 112
    for verdict in summary["verdicts"]:
        assert verdict["question"] in shown


def test_arms_are_shown_in_their_own_order(folder: Path) -> None:
    rows = full_tables(_summary(folder))[0].sections[0].rows
    assert [row[0] for row in rows] == [arm for arm in ARM_NAMES if arm in MEDIANS_US]


def test_one_arm_and_one_duration_make_a_report_too(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "result", [FakeRun("netpoll", {100_000: [150_000]})])
    write_report(folder)
    assert {path.stem for path in folder.glob("*.png")} == {ecdf_name("none", "quiet")}


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
