"""Whole benches inside a CPU limit that somebody else set: refused, or measured and called what they are."""

import json
from pathlib import Path
from typing import Any

import pytest

from nanonap.lab.ground.host import cpus_allowed
from nanonap.lab.main import redraw
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.cgroup import CgroupGroup
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.store.read import load
from tests.lab.made import Bench, Roots


def test_inside_a_cpu_limit_nothing_is_measured_unasked(bench: Bench, limited: CgroupGroup, roots: Roots) -> None:
    done = bench(around=tuple(limited.command([])), quota="none", load="quiet,burn:1")
    assert done.returncode == 49
    assert "InsideLimit: inside a CPU limit" in done.stderr
    assert f"/{limited.folder.name} above may use 30 % of a CPU" in done.stderr
    assert "--inside-limit" in done.stderr
    assert not roots.results.exists()


def test_inside_a_cpu_limit_every_table_and_format_names_it_and_its_stops_are_counted(
    bench: Bench, limited: CgroupGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    done = bench(around=tuple(limited.command([])), quota="none", load="quiet,burn:1,sleepers:50", inside_limit=True)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.rpartition("the page: ")[2].strip()).parent
    named = f"{limited.folder.name[:16]}…"
    _check_limited_runs(folder, limited)
    for form in ("markdown", "json", "benchfmt"):
        redraw(folder, form)
        text = capsys.readouterr().out
        assert "no quota," not in text
        if form == "markdown":
            titles = [line for line in text.splitlines() if line.startswith("## ")]
            plain = {"## Arms", "## Warnings", "## Sleeps that fall into more than one cluster"}
            assert all(named in title for title in titles if title not in plain), titles
        elif form == "json":
            _check_limited_summary(json.loads(text))
        else:
            assert f"cpu-limit: inside a limit of 30 % of a CPU (group /{named})" in text
            assert "quota=none-of-ours/" in text
    for text in (done.stdout, (folder / "report.html").read_text()):
        assert "no quota of ours, inside a limit of 30 % of a CPU" in " ".join(text.split())
        assert "no quota," not in text
    assert "--inside-limit" in json.loads((folder / "bench.json").read_text())["command"]


def _check_limited_runs(folder: Path, limited: CgroupGroup) -> None:
    runs = load(folder).runs
    for run in runs:
        assert run.above is not None
        [group] = run.above.groups
        assert group.group.endswith(f"/{limited.folder.name}")
        assert group.quota_ns == 30_000_000
        assert str(run.condition.inside).startswith("inside a limit of 30 % of a CPU")
    busy = [run.above.groups[0] for run in runs if run.above and run.condition.load == "burn:1"]
    assert sum(group.nr_throttled or 0 for group in busy) > 0
    assert sum(group.throttled_ns or 0 for group in busy) > 0


def _check_limited_summary(summary: dict[str, Any]) -> None:
    assert summary["above"]["bites"]
    assert any(warning.startswith("not free of limits") for warning in summary["warnings"])
    assert all(cell["above_throttled_share"] is not None for cell in summary["cells"])
    for verdict in summary["verdicts"]:
        assert verdict["outcome"] == "not measured" or "measured inside a limit of 30 %" in verdict["sentence"]
    # Where the time went: what the limit took is called throttled, and not a wait for a CPU.
    busy = [row for row in summary["attribution"] if row["load"] == "burn:1"]
    methods = (summary["bench"].get("attribution") or {}).get("methods", {})
    assert "tracepoints" not in methods  # without counters, they tell a stop only beside an idle CPU
    if any(method.startswith("tracepoints+") for method in methods):
        assert sum(row["throttled_ns"] for row in busy) > 0


def test_a_limit_that_leaves_all_cpus_is_measured_in_and_named(bench: Bench, backend: Backend) -> None:
    every = f"{cpus_allowed()}cpu"
    with backend.open(Limits(parse_quota(every))) as group:
        done = bench(around=tuple(group.command([])), quota="none", load="quiet", arms="floor", requested="100us")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert f"no quota of ours, inside a limit of {cpus_allowed()}00 % of a CPU, enough for" in told
    assert "not free of limits" not in told
