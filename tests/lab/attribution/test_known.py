"""Where the cause is known the attribution finds it, and the verdict says so only then."""

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from nanonap.lab.attribution.attribute import PARTS, STATES, Attribution
from nanonap.lab.attribution.path import Part
from nanonap.lab.experiments.attribution.method import LATE_NS, KnownAnswers
from nanonap.lab.experiments.attribution.runs import CAUSES, QUOTA, RUN_QUEUE, SCHEDULER
from nanonap.lab.experiments.kit.base import Setting, Verdict
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.base import Backend
from nanonap.lab.show.plots.attribution import latest_second, parts_plot, timeline_plot
from nanonap.lab.show.style import save
from tests.conftest import BuildProgram
from tests.lab.attribution.tracing import needs_tracing

METHOD = "tracepoints+cpu.stat"


@pytest.mark.long
def test_the_known_causes_are_found_in_real_runs(backend: Backend, build_program: BuildProgram, tmp_path: Path) -> None:
    needs_tracing()
    experiment = KnownAnswers()
    setting = Setting(True, backend, build_program("sleepbench"), {}, Stop(), lambda _: None, tmp_path)
    data = experiment.run(setting)
    (verdict,) = experiment.judge(data)
    assert verdict.outcome == "holds", verdict.sentence
    sleeps = data.filter(pl.col("kind") == "sleep")
    assert (sleeps.select(pl.sum_horizontal(PARTS)).to_series() == sleeps["overshoot_ns"]).all()
    assert set(data.filter(pl.col("kind") == "state")["state"]) >= {"running", "runqueue", "blocked", "throttled"}
    (table,) = experiment.tables(data)
    assert [row[0] for row in table.sections[0].rows] == list(CAUSES)
    figure = experiment.draw(data)
    assert figure is not None
    assert save(figure, tmp_path / "known.png", "a host").read_bytes().startswith(b"\x89PNG")


def test_a_backend_whose_threads_are_elsewhere_is_refused(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(type(backend), "elsewhere", True)
    setting = Setting(True, backend, Path("sleepbench"), {}, Stop(), lambda _: None, tmp_path)
    with pytest.raises(QuotaUnavailable, match="cgroup1"):
        KnownAnswers().run(setting)


def made(right: dict[str, float], unexplained: float = 0.0, n: int = 100, method: str = METHOD) -> pl.DataFrame:
    """Runs of ``n`` late sleeps each, of which the known cause is the largest part of a share."""
    frames = []
    for name, cause in CAUSES.items():
        rows = []
        for index in range(n):
            other = Part.GRANULARITY if index >= round(right.get(name, 1.0) * n) else cause
            lost = 2 * LATE_NS
            parts = dict.fromkeys(PARTS, 0)
            parts[f"{other.value}_ns"] = round(lost * (1 - unexplained))
            parts["unexplained_ns"] = lost - parts[f"{other.value}_ns"]
            rows.append({"index": index, "sleeper": 0, "start_ns": index, "overshoot_ns": lost, **parts})
        rows.append({"index": n, "sleeper": 0, "start_ns": n, "overshoot_ns": 1, **dict.fromkeys(PARTS, 0)})
        kind = {"run": name, "cause": cause.value, "method": method, "kind": "sleep"}
        frames.append(pl.DataFrame(rows).with_columns(pl.lit(text).alias(column) for column, text in kind.items()))
    return pl.concat(frames)


def judged(data: pl.DataFrame) -> Verdict:
    (verdict,) = KnownAnswers().judge(data)
    return verdict


def test_the_verdict_comes_out_either_way() -> None:
    assert judged(made({})).outcome == "holds"
    assert judged(made(dict.fromkeys(CAUSES, 0.9), unexplained=0.05)).outcome == "holds"
    assert judged(made(dict.fromkeys(CAUSES, 0.89))).outcome == "refuted"
    assert judged(made({}, unexplained=0.06)).outcome == "refuted"
    assert judged(made({QUOTA: 0.5})).outcome == "holds in part"
    assert judged(made({RUN_QUEUE: 0.5, SCHEDULER: 0.5})).outcome == "holds in part"
    figures = judged(made({QUOTA: 0.5}, unexplained=0.01)).figures
    assert figures[QUOTA] == {"late": 100, "explained": pytest.approx(0.99), "right": 0.5}


def test_the_verdict_needs_late_sleeps_and_a_trace() -> None:
    few, sampled = judged(made({}, n=4)), judged(made({}, method="schedstat sampling"))
    assert (few.outcome, sampled.outcome) == ("not settled", "cannot be tested here")
    assert "too few" in few.sentence
    assert "schedstat sampling" in sampled.sentence


def attribution() -> Attribution:
    """Three seconds of sleeps of 10 ms, later in the second than elsewhere, and two threads."""
    start = np.arange(0, 3_000_000_000, 20_000_000)
    late = np.where((start >= 10**9) & (start < 2 * 10**9), 9_000_000, 1_000_000)
    zero = np.zeros_like(start)
    columns = {"index": start // 20_000_000, "sleeper": zero, "requested_ns": zero + 10_000_000, "start_ns": start}
    columns |= {"actual_ns": 10_000_000 + late, "overshoot_ns": late, **dict.fromkeys(PARTS, zero)}
    sleeps = pl.DataFrame({**columns, "throttled_ns": late})
    kinds = ("running", "throttled", "runqueue", "unexplained", "blocked", "stuck")
    states = [(tid, kinds[(tid + i) % 6], i * 10**7, (i + 1) * 10**7) for tid in (7, 8) for i in range(300)]
    return Attribution(METHOD, sleeps, pl.DataFrame(states, schema=STATES, orient="row"), 0, 0)


def inside(figure: Figure) -> bool:
    """Whether no text is cut off by the figure's edge, and no two labels of an axis lie on each other."""
    figure.canvas.draw()
    page = figure.bbox
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
            assert not any(one.overlaps(two) for one, two in itertools.pairwise(boxes))
        for text in axes.texts:
            box = text.get_window_extent()
            assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
    return True


def test_the_time_line_shows_the_second_in_which_most_was_lost(tmp_path: Path) -> None:
    found = attribution()
    assert latest_second(found.sleeps) == 10**9
    figure = timeline_plot(found, "One second")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sleeps", "thread 1", "thread 2"]
    assert inside(figure)
    assert save(figure, tmp_path / "line.png", "a host").stat().st_size > 10_000


def test_the_time_line_of_a_run_that_was_not_traced_says_so() -> None:
    found = attribution()
    figure = timeline_plot(Attribution("counters", found.sleeps, found.states.clear(), 0, 0), "One second")
    assert [text.get_text() for text in figure.axes[0].texts] == ["what the threads did was not recorded"]
    assert latest_second(found.sleeps.clear()) == 0


def test_the_bars_are_as_long_as_the_mean_time_late() -> None:
    figure = parts_plot({"stock, 50 %": attribution().sleeps, "nothing": attribution().sleeps.clear()}, "Late")
    (axes,) = figure.axes
    assert max(
        patch.get_extents().transformed(axes.transData.inverted()).x1 for patch in axes.patches
    ) == pytest.approx(attribution().sleeps["overshoot_ns"].mean())
    assert [text.get_text().endswith("n = 150") for text in axes.texts] == [True, False]
    assert inside(figure)
