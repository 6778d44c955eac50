"""A result folder, read back and checked: nothing in it is trusted to be whole."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import BadResult
from bench.explain import read_explained
from bench.quota.sampler import SERIES_SCHEMA
from bench.quota.series import STAT_SCHEMA
from bench.record import BENCH, PARTS, RUNS, SAMPLE_SCHEMA, SAMPLES, SCHEMA, STAT

_NEEDED: dict[str, type | tuple[type, ...]] = {
    "run_id": str,
    "arm": str,
    "go_version": str,
    "binary_sha256": str,
    "condition": dict,
    "block": int,
    "wall_ns": int,
    "host": dict,
    "counters": dict,
    "partial": bool,
}
_OPTIONAL_NUMBERS = ("slack_ns", "timer_slack_ns", "missed")
_NEEDED_SAMPLES = ("run_id", "requested_ns", "index", "start_ns", "actual_ns")


@dataclass(frozen=True)
class Result:
    """The raw data: runs of runs.jsonl, samples of samples.parquet, ``about`` of bench.json ({} if missing).

    ``series``: run_id → a frame of bench.quota.sampler.SERIES_SCHEMA, of stat.parquet; {} where nothing was sampled.
    ``explained``: what bench.explain kept; None where nothing was recorded.
    """

    folder: Path
    runs: list[dict[str, Any]]
    samples: pl.DataFrame
    about: dict[str, Any]
    series: dict[str, pl.DataFrame] = field(default_factory=dict)
    explained: tuple[pl.DataFrame, pl.DataFrame] | None = None

    @property
    def partial(self) -> bool:
        """Whether the bench was cut short (interrupted, or it died)."""
        return any(run["partial"] for run in self.runs)

    @property
    def go_version(self) -> str:
        """The Go release of the compared programs; "none" if all that ran was no Go program."""
        versions = (str(run["go_version"]) for run in self.runs)
        return next((version for version in versions if version != "none"), "none")


def load(folder: Path) -> Result:
    """Read a result folder. Raises BadResult, naming the file and what is wrong with it."""
    if not folder.is_dir():
        raise BadResult(f"{folder}: no such result folder; `invoke bench` makes one")
    runs = _read_runs(folder / RUNS)
    samples = _read_samples(folder, runs)
    unknown = set(samples["run_id"].unique()) - {run["run_id"] for run in runs}
    if unknown:
        raise BadResult(f"{folder / SAMPLES}: has samples of run {min(unknown)}, which {RUNS} does not know")
    return Result(folder, runs, samples, _read_about(folder / BENCH), _read_series(folder), read_explained(folder))


def _read_runs(path: Path) -> list[dict[str, Any]]:
    text = _text(path)
    lines = text.split("\n")
    # A line without its end was being written when the machine or the bench died; its run is lost.
    complete = [(number, line) for number, line in enumerate(lines[:-1], start=1) if line.strip()]
    if not complete:
        raise BadResult(f"{path}: holds no run; nothing was measured")
    return [_read_run(path, number, line) for number, line in complete]


def _read_run(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        run = json.loads(line)
    except ValueError as error:
        raise BadResult(f"{path}: line {number} is not JSON ({error})") from error
    if not isinstance(run, dict) or run.get("schema") != SCHEMA:
        found = run.get("schema") if isinstance(run, dict) else "no object"
        raise BadResult(f"{path}: line {number} has schema {found}, this tool reads {SCHEMA}")
    wrong = [name for name, kind in _NEEDED.items() if not isinstance(run.get(name), kind)]
    wrong += [name for name, value in (run.get("counters") or {}).items() if not isinstance(value, int | None)]
    wrong += [name for name in _OPTIONAL_NUMBERS if not isinstance(run.get(name), int | None)]
    wrong += ["load_average"] * (not _are_numbers((run.get("host") or {}).get("load_average") or []))
    wrong += [name for name in ("quota", "load") if not isinstance((run.get("condition") or {}).get(name), str)]
    if wrong:
        raise BadResult(f"{path}: line {number} has no usable {', '.join(wrong)}")
    return run


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, int | float) for value in values)


def _read_samples(folder: Path, runs: list[dict[str, Any]]) -> pl.DataFrame:
    path = folder / SAMPLES
    # A bench that died before its end left the samples run by run, perhaps one more than it left runs.
    parts = [folder / PARTS / f"{run['run_id']}.parquet" for run in runs]
    if not path.exists() and not (folder / PARTS).is_dir():
        raise BadResult(f"{path}: missing, and there is no {PARTS}/ to read instead")
    sources = [path] if path.exists() else parts
    frames = []
    for source in sources:
        try:
            frame = pl.read_parquet(source)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise BadResult(f"{source}: not a readable parquet file ({str(error).splitlines()[0]})") from error
        bad = [name for name in _NEEDED_SAMPLES if frame.schema.get(name) != SAMPLE_SCHEMA[name]]
        if bad:
            raise BadResult(f"{source}: column {', '.join(bad)} is missing or of another type")
        frames.append(frame.select(_NEEDED_SAMPLES))
    samples = pl.concat(frames)
    if samples.null_count().sum_horizontal().item() or samples.is_empty():
        raise BadResult(f"{path}: holds no samples, or empty fields")
    if samples["actual_ns"].min() < 0 or samples["requested_ns"].min() <= 0:  # type: ignore[operator]
        raise BadResult(f"{path}: holds negative times")
    return samples


def _read_series(folder: Path) -> dict[str, pl.DataFrame]:
    path, parts = folder / STAT, sorted((folder / PARTS).glob(f"*.{STAT}"))
    try:
        if path.exists():
            whole = pl.read_parquet(path)
            _check_series(path, whole, STAT_SCHEMA)
            return {
                str(key[0]): part.drop("run_id") for key, part in whole.partition_by("run_id", as_dict=True).items()
            }
        frames = {each.name.partition(".")[0]: pl.read_parquet(each) for each in parts}
        for frame in frames.values():
            _check_series(folder / PARTS, frame, SERIES_SCHEMA)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadResult(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from error
    return frames


def _check_series(path: Path, frame: pl.DataFrame, schema: pl.Schema) -> None:
    bad = [name for name, kind in schema.items() if frame.schema.get(name) != kind]
    if bad:
        raise BadResult(f"{path}: column {', '.join(bad)} is missing or of another type")


def _read_about(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        about = json.loads(_text(path))
    except ValueError as error:
        raise BadResult(f"{path}: not JSON ({error})") from error
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise BadResult(f"{path}: not of schema {SCHEMA}")
    by_load = about.get("syscalls_by_load", {})
    every = [about.get("syscalls", {}), *(by_load.values() if isinstance(by_load, dict) else [None])]
    sound = all(isinstance(counts, dict) and all(_is_count(count) for count in counts.values()) for counts in every)
    if not isinstance(about.get("notes", []), list) or not sound:
        raise BadResult(f"{path}: its notes or system call counts are not as a bench writes them")
    return about


def _is_count(count: object) -> bool:
    return (
        isinstance(count, dict)
        and isinstance(count.get("epoll_per_second"), float)
        and isinstance(count.get("counter"), str)
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadResult(f"{path}: missing; this is no result folder, or not a whole one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadResult(f"{path}: cannot be read ({error})") from error
