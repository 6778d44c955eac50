"""Kept runs that the table of claims takes over, and the page and its data in their places."""

import json
from pathlib import Path

import msgspec
import polars as pl
import pytest

from nanonap.base.errors import OutputExists, OutputNotWritable
from nanonap.lab.claims.data import Source, adopt, read
from nanonap.lab.claims.write import FOLDER, PAGE, copied, prepare, put_in_place
from nanonap.lab.experiments.main import ABOUT, DATA, about_of, judged
from nanonap.lab.ground.errors import BadResult
from tests.lab.experiments.test_quota_limits import made
from tests.lab.made import above_of

LIMITS = Source("quota-limits")


def kept(
    folder: Path,
    started: str,
    *,
    quick: bool = False,
    backend: str = "cgroup1",
    above: object = None,
) -> Path:
    """A kept run of quota-limits with the kernel's own answers."""
    folder.mkdir(parents=True)
    made({}).write_parquet(folder / DATA)
    used = {"name": backend, "why": "asked for"}
    about = {"schema": 1, "experiment": "quota-limits", "started_utc": started, "quick": quick, "go_version": "1.27.3"}
    (folder / ABOUT).write_text(json.dumps({**about, "backend": used, "host": {}, "above": msgspec.to_builtins(above)}))
    return folder


def started(root: Path, source: Source = LIMITS) -> str:
    data = read(root, source)
    assert data is not None
    return data.about.started_utc


def test_the_newest_full_run_of_the_same_place_is_taken(tmp_path: Path) -> None:
    root, results = tmp_path / FOLDER, tmp_path / "results"
    assert not adopt(root, LIMITS, results)
    kept(results / "quota-limits" / "a", "2026-01-01T00:00:00")
    assert adopt(root, LIMITS, results) and started(root) == "2026-01-01T00:00:00"
    kept(results / "quota-limits" / "b", "2026-01-03T00:00:00", quick=True)
    kept(results / "quota-limits" / "c", "2026-01-02T00:00:00")
    kept(results / "quota-limits" / "d", "2026-01-04T00:00:00", backend="guest")
    assert adopt(root, LIMITS, results) and started(root) == "2026-01-02T00:00:00"
    assert not adopt(root, LIMITS, results)
    assert adopt(root, LIMITS, results, quick=True) and started(root) == "2026-01-03T00:00:00"
    guest = Source("quota-limits", "guest")
    assert adopt(root, guest, results) and started(root, guest) == "2026-01-04T00:00:00"


def test_a_run_inside_a_cpu_limit_says_so_and_is_only_taken_where_such_runs_are_asked_for(tmp_path: Path) -> None:
    root, results = tmp_path / FOLDER, tmp_path / "results"
    folder = kept(results / "quota-limits" / "a", "2026-01-01T00:00:00", above=above_of(30_000_000))
    where = "measured inside a limit of 30 % of a CPU (group /a)"
    assert all(each.sentence.endswith(where) for each in judged(folder).verdicts)
    assert not adopt(root, LIMITS, results)
    assert adopt(root, LIMITS, results, inside_limit=True)


def test_a_kept_run_whose_limit_is_not_one_is_no_experiments_folder(tmp_path: Path) -> None:
    with pytest.raises(BadResult, match=r"missing required field `group` - at `\$\.above\.groups"):
        about_of(kept(tmp_path / "a", "2026-01-01T00:00:00", above={"groups": [{}]}))


def test_a_broken_kept_run_is_left_out_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    kept(results / "quota-limits" / "a", "2026-01-01T00:00:00")
    (kept(results / "quota-limits" / "b", "2026-01-02T00:00:00") / ABOUT).write_text("{")
    assert adopt(tmp_path / FOLDER, LIMITS, results)
    assert started(tmp_path / FOLDER) == "2026-01-01T00:00:00"
    assert "left out" in capfd.readouterr().err


def test_a_kept_run_that_cannot_be_judged_any_more_is_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    kept(results / "quota-limits" / "a", "2026-01-01T00:00:00")
    outdated = kept(results / "quota-limits" / "b", "2026-01-02T00:00:00")
    pl.DataFrame({"quota": ["1000"]}).write_parquet(outdated / DATA)
    assert adopt(tmp_path / FOLDER, LIMITS, results)
    assert started(tmp_path / FOLDER) == "2026-01-01T00:00:00"
    assert "left out" in capfd.readouterr().err


def test_page_and_data_are_published_together_or_not_at_all(tmp_path: Path) -> None:
    root = tmp_path / "docs"
    kept(root / FOLDER / "quota-limits", "2026-01-01T00:00:00")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    unwritable = tmp_path / "folder"  # the last of the texts cannot be written: a folder has its name
    unwritable.mkdir()
    with copied(root / FOLDER) as copy:
        (copy / FOLDER / "quota-limits" / DATA).write_bytes(b"new")
        with pytest.raises(OutputNotWritable):
            put_in_place(copy, root, {root / PAGE: "new", unwritable: "new"})
        assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
        put_in_place(copy, root, {root / PAGE: "new"})
    assert (root / PAGE).read_text() == "new"
    assert (root / FOLDER / "quota-limits" / DATA).read_bytes() == b"new"
    assert not copy.exists()


def test_another_page_is_not_overwritten_and_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("mine")
    with pytest.raises(OutputExists):
        prepare(tmp_path)
    with pytest.raises(OutputNotWritable):
        prepare(tmp_path / PAGE / "under a file")
    assert (tmp_path / PAGE).read_text() == "mine"
