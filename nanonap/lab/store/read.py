"""A result folder, read back and checked: nothing in it is trusted to be whole."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import polars as pl

from nanonap.base.terminal import command
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.ground.frames import read_frame
from nanonap.lab.quota.sampler import SERIES_SCHEMA
from nanonap.lab.quota.series import STAT_SCHEMA
from nanonap.lab.run.explain import read_explained
from nanonap.lab.store.runs import SCHEMA, Bench, RunLine
from nanonap.lab.store.write import BENCH, PARTS, RUNS, SAMPLE_SCHEMA, SAMPLES, STAT

Kind = TypeVar("Kind", bound=msgspec.Struct)
_NEEDED_SAMPLES = pl.Schema({name: kind for name, kind in SAMPLE_SCHEMA.items() if name != "sleeper"})


@dataclass(frozen=True)
class Result:
    """The raw data: runs of runs.jsonl, samples of samples.parquet, ``about`` of bench.json.

    ``series``: run_id → a frame of lab.quota.sampler.SERIES_SCHEMA, of stat.parquet; {} where nothing was sampled.
    ``explained``: what nanonap.lab.run.explain kept; None where nothing was recorded.
    """

    folder: Path
    runs: list[RunLine]
    samples: pl.DataFrame
    about: Bench
    series: dict[str, pl.DataFrame] = field(default_factory=dict)
    explained: tuple[pl.DataFrame, pl.DataFrame] | None = None

    @property
    def partial(self) -> bool:
        """Whether the bench was cut short (interrupted, or it died)."""
        return any(run.partial for run in self.runs)

    @property
    def go_version(self) -> str:
        """The Go release of the compared programs; "none" if all that ran was no Go program."""
        versions = (run.go_version for run in self.runs)
        return next((version for version in versions if version != "none"), "none")


def load(folder: Path) -> Result:
    """Read a result folder. Raises BadResult, naming the file and what is wrong with it."""
    if not folder.is_dir():
        raise BadResult(f"{folder}: no such result folder; `{command('bench')}` makes one")
    runs = _read_runs(folder / RUNS)
    samples = _read_samples(folder, runs)
    unknown = set(samples["run_id"].unique()) - {run.run_id for run in runs}
    if unknown:
        raise BadResult(f"{folder / SAMPLES}: has samples of run {min(unknown)}, which {RUNS} does not know")
    bench = folder / BENCH
    about = decode(_text(bench), Bench, str(bench), SCHEMA) if bench.exists() else Bench()
    return Result(folder, runs, samples, about, _read_series(folder), read_explained(folder))


def _read_runs(path: Path) -> list[RunLine]:
    text = _text(path)
    lines = text.split("\n")
    # A line without its end was being written when the machine or the bench died; its run is lost.
    complete = [(number, line) for number, line in enumerate(lines[:-1], start=1) if line.strip()]
    if not complete:
        raise BadResult(f"{path}: holds no run; nothing was measured")
    return [decode(line, RunLine, f"{path}, line {number}", SCHEMA) for number, line in complete]


class _Versioned(msgspec.Struct):
    schema: object = None


def decode(text: str, kind: type[Kind], where: str, schema: int) -> Kind:
    """Read what a result says in JSON. Raises BadResult, naming ``where``, the field and what is wrong with it."""
    try:
        found = msgspec.json.decode(text, type=_Versioned).schema
        if found != schema:
            raise BadResult(f"{where}: of schema {found}, this tool reads {schema}")
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise BadResult(f"{where}: not as this tool writes it: {error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadResult(f"{where}: not JSON ({error})") from error


def _read_samples(folder: Path, runs: list[RunLine]) -> pl.DataFrame:
    path = folder / SAMPLES
    # A bench that died before its end left the samples run by run, perhaps one more than it left runs.
    parts = [folder / PARTS / f"{run.run_id}.parquet" for run in runs]
    if not path.exists() and not (folder / PARTS).is_dir():
        raise BadResult(f"{path}: missing, and there is no {PARTS}/ to read instead")
    samples = pl.concat(read_frame(source, _NEEDED_SAMPLES) for source in ([path] if path.exists() else parts))
    if samples.null_count().sum_horizontal().item() or samples.is_empty():
        raise BadResult(f"{path}: holds no samples, or empty fields")
    if samples["actual_ns"].min() < 0 or samples["requested_ns"].min() <= 0:  # type: ignore[operator]
        raise BadResult(f"{path}: holds negative times")
    return samples


def _read_series(folder: Path) -> dict[str, pl.DataFrame]:
    path, parts = folder / STAT, sorted((folder / PARTS).glob(f"*.{STAT}"))
    if not path.exists():
        return {each.name.partition(".")[0]: read_frame(each, SERIES_SCHEMA) for each in parts}
    by_run = read_frame(path, STAT_SCHEMA).partition_by("run_id", as_dict=True)
    return {str(key[0]): part.drop("run_id") for key, part in by_run.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadResult(f"{path}: missing; this is no result folder, or not a whole one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadResult(f"{path}: cannot be read ({error})") from error
