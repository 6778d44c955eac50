"""A result folder is not trusted: whatever is wrong with it is said in one line, never a traceback."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest

from nanonap.lab.ground.errors import BadResult
from nanonap.lab.show.report import as_json, summarize
from nanonap.lab.store.read import load
from tests.lab.made import FakeRun, write_result

RUNS = [FakeRun("stock", {100_000: [1_100_000, 1_110_000]}, block) for block in range(2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_result(tmp_path / "result", RUNS)


def _change_run(folder: Path, **change: object) -> None:
    lines = (folder / "runs.jsonl").read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    (folder / "runs.jsonl").write_text("\n".join(lines) + "\n")


def _change_bench(folder: Path, **change: object) -> None:
    (folder / "bench.json").write_text(json.dumps({"schema": 1, **change}))


def _change_samples(folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = folder / "samples.parquet"
    change(pl.read_parquet(path)).write_parquet(path)


def test_a_whole_result_is_read(folder: Path) -> None:
    result = load(folder)
    assert len(result.runs) == 2
    assert result.samples.height == 4
    assert not result.partial


BREAKS: list[tuple[str, Callable[[Path], object], str]] = [
    ("no runs file", lambda at: (at / "runs.jsonl").unlink(), r"runs\.jsonl: missing"),
    ("empty runs file", lambda at: (at / "runs.jsonl").write_text(""), "holds no run"),
    ("not JSON", lambda at: (at / "runs.jsonl").write_text("nonsense\n"), r"runs\.jsonl, line 1: not JSON"),
    ("not an object", lambda at: (at / "runs.jsonl").write_text("[]\n"), r"line 1: .*Expected `object`, got `array`"),
    ("not text", lambda at: (at / "runs.jsonl").write_bytes(b"\xff\xfe\n"), "cannot be read"),
    ("a folder for a file", lambda at: _into_folder(at / "runs.jsonl"), "cannot be read"),
    ("later schema", lambda at: _change_run(at, schema=99), r"line 2: of schema 99, this tool reads 1"),
    ("arm of wrong type", lambda at: _change_run(at, arm=5), r"line 2: .*Expected `str`, got `int` - at `\$\.arm`"),
    ("no condition", lambda at: _change_run(at, condition=None), r"at `\$\.condition`"),
    (
        "quota of wrong type",
        lambda at: _change_run(at, condition={"quota": 5, "load": "quiet"}),
        r"\$\.condition\.quota",
    ),
    ("counter of wrong type", lambda at: _change_run(at, counters={"cpu_ns": "many"}), r"at `\$\.counters\.cpu_ns`"),
    ("no samples", lambda at: (at / "samples.parquet").unlink(), r"samples\.parquet: missing"),
    ("broken samples", lambda at: (at / "samples.parquet").write_bytes(b"PAR1"), "not a readable parquet"),
    ("truncated samples", lambda at: _cut(at / "samples.parquet"), "not a readable parquet"),
    ("lost column", lambda at: _change_samples(at, lambda all_: all_.drop("actual_ns")), "column actual_ns"),
    ("text for numbers", lambda at: _change_samples(at, _as_text), "column requested_ns"),
    ("empty fields", lambda at: _change_samples(at, _with_null), "empty fields"),
    ("no rows", lambda at: _change_samples(at, lambda all_: all_.head(0)), "holds no samples"),
    ("negative time", lambda at: _change_samples(at, lambda all_: all_.with_columns(-pl.col("actual_ns"))), "negative"),
    ("unknown run", lambda at: _change_samples(at, _of_another_run), "run 77777, which runs.jsonl does not know"),
    ("broken notes", lambda at: (at / "bench.json").write_text("{"), r"bench\.json: not JSON"),
    (
        "other notes",
        lambda at: _change_bench(at, syscalls={"a": 1}),
        r"\$\.syscalls\[",
    ),
    (
        "notes of another type",
        lambda at: _change_bench(at, notes=5),
        r"\$\.notes",
    ),
    (
        "counts of another type",
        lambda at: _change_bench(at, syscalls=[]),
        r"\$\.syscalls`",
    ),
    ("load of another type", lambda at: _change_run(at, host={"load_average": "high"}), r"at `\$\.host\.load_average`"),
    ("slack of another type", lambda at: _change_run(at, slack_ns="1"), r"at `\$\.slack_ns`"),
]


def _into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _as_text(samples: pl.DataFrame) -> pl.DataFrame:
    return samples.with_columns(pl.col("requested_ns").cast(pl.String))


def _with_null(samples: pl.DataFrame) -> pl.DataFrame:
    return samples.with_columns(
        pl.when(pl.col("index") == 0).then(None).otherwise(pl.col("actual_ns")).alias("actual_ns")
    )


def _of_another_run(samples: pl.DataFrame) -> pl.DataFrame:
    return samples.with_columns(run_id=pl.lit("77777"))


@pytest.mark.parametrize(("break_it", "told"), [pytest.param(*case[1:], id=case[0]) for case in BREAKS])
def test_what_is_wrong_is_said_in_one_line(folder: Path, break_it: Callable[[Path], object], told: str) -> None:
    break_it(folder)
    with pytest.raises(BadResult, match=told) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_no_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BadResult, match="no such result folder"):
        load(tmp_path / "missing")


def test_a_line_without_its_end_was_being_written_and_its_run_is_left_out(folder: Path) -> None:
    with (folder / "runs.jsonl").open("a") as stream:
        stream.write('{"schema": 1, "run_id": "000')
    assert len(load(folder).runs) == 2


def test_a_bench_that_died_is_read_from_its_parts(folder: Path) -> None:
    samples = pl.read_parquet(folder / "samples.parquet")
    (folder / "samples.parquet").unlink()
    (folder / "parts").mkdir()
    for run_id in ("00000", "00001"):
        samples.filter(pl.col("run_id") == run_id).write_parquet(folder / "parts" / f"{run_id}.parquet")
    (folder / "parts" / "00002.parquet").write_bytes(b"half a file of a run that was never recorded")
    assert load(folder).samples.height == 4


def test_a_result_without_its_notes_is_read_all_the_same(folder: Path) -> None:
    (folder / "bench.json").unlink()
    assert msgspec.to_builtins(load(folder).about) == {}


def test_what_an_older_version_did_not_write_is_left_out_where_it_is_told_again(folder: Path) -> None:
    summary = json.loads(as_json(summarize(folder)))
    assert summary["cells"][0]["condition"] == {"quota": "none", "load": "quiet", "gomaxprocs": 2, "backend": "none"}
    assert summary["bench"] == {"schema": 1, "notes": [], "syscalls": {}}
    assert "accelerator" not in summary["host"]
