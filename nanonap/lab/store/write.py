"""The raw record of a bench: written as it is measured, so that an interruption or a crash keeps what there is.

While measuring: ``runs.jsonl`` grows by a line per run, marked partial, and ``parts/`` by a file of samples per run.
At the end the parts become ``samples.parquet``, and if nothing was cut short the lines lose their mark.
"""

import io
import json
import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from bench.explain import Explained
from bench.quota.base import Backend
from bench.quota.series import write_series
from bench.runner import COLUMNS, Measured
from nanonap.errors import OutputExists
from nanonap.files import as_ours, beside, write_text

SCHEMA = 1
RUNS, SAMPLES, STAT, BENCH, PARTS = "runs.jsonl", "samples.parquet", "stat.parquet", "bench.json", "parts"
SAMPLE_SCHEMA = pl.Schema(
    {
        "run_id": pl.String,
        "requested_ns": pl.Int64,
        "index": pl.Int64,
        "start_ns": pl.Int64,
        "actual_ns": pl.Int64,
        "sleeper": pl.Int64,
    }
)


def new_folder(results: Path, out: Path | None) -> Path:
    """Make the result folder: ``out``, or ``<UTC>-<id>`` in ``results``. Raises OutputExists, OutputNotWritable."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = out if out is not None else results / f"{stamp}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OutputExists(f"{folder}: not empty; choose another --out, or remove it first")
        (folder / PARTS).mkdir()
    except OSError as error:
        raise as_ours(error, folder) from error
    return folder


class Record:
    """Writes one result folder."""

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        """``about`` is what is known before the first run; it becomes bench.json and may be added to."""
        self.folder, self.about = folder, about
        self.runs: list[dict[str, Any]] = []
        self.explained = Explained()
        self.save_about()

    def save_about(self) -> None:
        """Write bench.json: the command, the schedule's parameters, notes, system call counts."""
        write_text(self.folder / BENCH, json.dumps({"schema": SCHEMA, **self.about}, indent=1) + "\n")

    def add(self, measured: Measured, backend: Backend, host: dict[str, Any]) -> None:
        """Record a run and its samples. Raises DiskFull or OutputNotWritable."""
        run_id = f"{len(self.runs):05d}"
        line = run_fields(run_id, measured, backend, host)
        try:
            # The samples first: a run without samples would be a wrong record, samples without their run are none.
            (self.folder / PARTS / f"{run_id}.parquet").write_bytes(_parquet(samples_frame(run_id, measured)))
            if measured.series is not None:
                (self.folder / PARTS / f"{run_id}.{STAT}").write_bytes(_parquet(measured.series))
            with (self.folder / RUNS).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        except OSError as error:
            raise as_ours(error, self.folder / RUNS) from error
        self.runs.append(line)

    def discard(self) -> None:
        """Remove the folder's contents, for a bench that measured nothing, and the folder."""
        shutil.rmtree(self.folder)

    def finish(self, partial: bool) -> None:
        """Join the samples; take the mark off the runs unless the bench was cut short."""
        self._join_parts()
        self.explained.write(self.folder)
        if not partial:
            lines = (json.dumps({**run, "partial": False}) for run in self.runs)
            write_text(self.folder / RUNS, "".join(f"{line}\n" for line in lines))
        self.save_about()

    def _join_parts(self) -> None:
        """Make samples.parquet of the parts and remove them. Raises DiskFull or OutputNotWritable."""
        parts = self.folder / PARTS
        joined = pl.concat(pl.read_parquet(parts / f"{run['run_id']}.parquet") for run in self.runs)
        with beside(self.folder / SAMPLES) as temporary:
            temporary.write_bytes(_parquet(joined))
            temporary.chmod(0o644)
        series = {
            run["run_id"]: pl.read_parquet(path)
            for run in self.runs
            if (path := parts / f"{run['run_id']}.{STAT}").exists()
        }
        if series:
            write_series(self.folder / STAT, series)
        # Left behind they would do no harm: they are read only where samples.parquet is missing.
        shutil.rmtree(parts, ignore_errors=True)


def run_fields(run_id: str, measured: Measured, backend: Backend, host: dict[str, Any]) -> dict[str, Any]:
    """The line of runs.jsonl; None where the machine cannot tell.

    The condition has the GOMAXPROCS asked for; floor raises it, so what it was is a field of its own.
    """
    run, header = measured.run, measured.output.header
    throttling = measured.throttling
    grouped = run.limits.limited or backend.elsewhere
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "arm": run.arm.name,
        "strategy": run.arm.strategy,
        "slack_ns": run.arm.slack_ns,
        "method": run.arm.method,
        "go_version": run.arm.go_version,
        "binary_sha256": run.arm.sha256,
        "condition": {
            "quota": str(measured.effective.quota),
            "load": str(run.condition.load),
            "gomaxprocs": measured.gomaxprocs,
            "gomaxprocs_set": run.condition.gomaxprocs is not None,
            "backend": backend.name if grouped else "none",
            "cpu_weight": measured.effective.weight,
            "memory_max_bytes": measured.effective.memory_bytes,
        },
        "block": run.block,
        "seed": run.seed,
        "started_utc": measured.started_utc,
        "wall_ns": header["wall_ns"],
        "host": host,
        "counters": {
            "cpu_ns": header["cpu_ns"],
            "nvcsw": header["nvcsw"],
            "nivcsw": header["nivcsw"],
            "threads_peak": header["threads_peak"],
            "nr_periods": throttling.nr_periods if throttling else None,
            "nr_throttled": throttling.nr_throttled if throttling else None,
            "throttled_ns": throttling.throttled_ns if throttling else None,
            "nr_bursts": throttling.nr_bursts if throttling else None,
            "burst_ns": throttling.burst_ns if throttling else None,
            "group_usage_ns": throttling.usage_ns if throttling else None,
        },
        "partial": True,
        "n": header["n"],
        "missed": header.get("missed"),
        "truncated": header["truncated"],
        "timer_slack_ns": header["timer_slack_ns"],
        "clock_read_ns": header.get("clock_read_ns"),
        "gomaxprocs": header["gomaxprocs"],
        "took_ns": measured.took_ns,
        "sampling": measured.sampling,
        "host_during": measured.host_during,
    }


def samples_frame(run_id: str, measured: Measured) -> pl.DataFrame:
    """The run's samples, a row each, in the order sleepbench gave them."""
    columns = dict(zip(COLUMNS, measured.output.samples, strict=True))
    count = measured.output.samples.shape[1]
    return (
        pl.DataFrame(columns)
        .with_columns(run_id=pl.lit(run_id), index=pl.arange(count, dtype=pl.Int64))
        .select(SAMPLE_SCHEMA.names())
    )


def _parquet(frame: pl.DataFrame) -> bytes:
    # Polars' own writer hides which error the system gave; a full disk must be told apart.
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def point_latest(folder: Path) -> None:
    """Make ``latest`` beside the result folder point to it, in one step (rename(2)). Raises OutputNotWritable."""
    link = folder.parent / "latest"
    temporary = folder.parent / f".latest.{os.getpid()}"
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(folder.name)
        temporary.replace(link)
    except OSError as error:
        raise as_ours(error, link) from error
