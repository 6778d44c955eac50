"""The raw data of a bench: written as it is measured, so that an interruption or a crash keeps what there is.

While measuring: ``runs.jsonl`` grows by a line per run, marked partial, and ``parts/`` by a file of samples per run.
At the end the parts become ``samples.parquet``, and if nothing was cut short the lines lose their mark.
"""

import json
import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl

from nanonap.base.errors import OutputExists, OutputNotWritable
from nanonap.base.files import as_ours, write_text
from nanonap.lab.ground.frames import parquet, write_frame
from nanonap.lab.ground.hosts import Host
from nanonap.lab.quota import above_limit
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.series import write_series
from nanonap.lab.run.explain import Explained
from nanonap.lab.run.runner import COLUMNS, Measured
from nanonap.lab.run.syscalls import Counted
from nanonap.lab.store.runs import Bench, Counters, RunCondition, RunLine

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


def check_folder(out: Path) -> None:
    """Refuse a result folder that cannot be before work is done for it. Raises as ``new_folder``."""
    if out.exists() and not out.is_dir():
        raise OutputNotWritable(f"{out}: not a folder; choose another --out")
    if out.exists() and any(out.iterdir()):
        raise OutputExists(f"{out}: not empty; choose another --out, or remove it first")


def made_folder(results: Path, out: Path | None) -> Path:
    """Make ``out``, or ``<UTC>-<id>`` in ``results``. Raises OutputExists, OutputNotWritable."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = out if out is not None else results / f"{stamp}-{secrets.token_hex(3)}"
    try:
        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise as_ours(error, folder) from error
    return folder


def new_folder(results: Path, out: Path | None) -> Path:
    """Make the result folder, as ``made_folder``, with a place for what is not whole yet."""
    folder = made_folder(results, out)
    try:
        (folder / PARTS).mkdir()
    except OSError as error:
        raise as_ours(error, folder) from error
    return folder


class ResultWriter:
    """Writes one result folder."""

    def __init__(self, folder: Path, about: Bench) -> None:
        """``about`` is what is known before the first run; it becomes bench.json and may be added to.

        ``calls``: load → arm → how often it entered the kernel; ``cost_calls`` those under the usual cost workload.
        """
        self.folder, self.about = folder, about
        self.notes: list[str] = about.notes or []
        self.calls: dict[str, dict[str, Counted]] = {}
        self.cost_calls: dict[str, Counted] = {}
        about.notes, about.syscalls, about.syscalls_by_load = self.notes, self.cost_calls, self.calls
        self.runs: list[RunLine] = []
        self.explained = Explained()
        self.save_about()

    def save_about(self) -> None:
        """Write bench.json: the command, the schedule's parameters, notes, system call counts."""
        write_text(self.folder / BENCH, json.dumps(msgspec.to_builtins(self.about), indent=1) + "\n")

    def add(self, measured: Measured, backend: Backend, host: Host) -> None:
        """Write a run and its samples. Raises DiskFull or OutputNotWritable."""
        run_id = f"{len(self.runs):05d}"
        line = run_line(run_id, measured, backend, host)
        try:
            # The samples first: a run without samples would be a wrong result, samples without their run are none.
            (self.folder / PARTS / f"{run_id}.parquet").write_bytes(parquet(samples_frame(run_id, measured)))
            if measured.series is not None:
                (self.folder / PARTS / f"{run_id}.{STAT}").write_bytes(parquet(measured.series))
            with (self.folder / RUNS).open("a", encoding="utf-8") as stream:
                stream.write(_text(line))
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
            lines = (_text(msgspec.structs.replace(run, partial=False)) for run in self.runs)
            write_text(self.folder / RUNS, "".join(lines))
        self.save_about()

    def _join_parts(self) -> None:
        """Make samples.parquet of the parts and remove them. Raises DiskFull or OutputNotWritable."""
        parts = self.folder / PARTS
        joined = pl.concat(pl.read_parquet(parts / f"{run.run_id}.parquet") for run in self.runs)
        write_frame(self.folder / SAMPLES, joined)
        series = {
            run.run_id: pl.read_parquet(path) for run in self.runs if (path := parts / f"{run.run_id}.{STAT}").exists()
        }
        if series:
            write_series(self.folder / STAT, series)
        # Left behind they would do no harm: they are read only where samples.parquet is missing.
        shutil.rmtree(parts, ignore_errors=True)


def _text(line: RunLine) -> str:
    return json.dumps(msgspec.to_builtins(line)) + "\n"


def run_line(run_id: str, measured: Measured, backend: Backend, host: Host) -> RunLine:
    """The line of runs.jsonl; None where the machine cannot tell. The condition has the GOMAXPROCS asked for."""
    run, header = measured.run, measured.output.header
    throttling = measured.throttling
    grouped = run.limits.limited or backend.elsewhere
    return RunLine(
        run_id=run_id,
        arm=run.arm.name,
        strategy=run.arm.strategy,
        slack_ns=run.arm.slack_ns,
        method=run.arm.method,
        go_version=run.arm.go_version,
        binary_sha256=run.arm.sha256,
        condition=RunCondition(
            quota=str(measured.effective.quota),
            load=str(run.condition.load),
            gomaxprocs=measured.gomaxprocs,
            gomaxprocs_set=run.condition.gomaxprocs is not None,
            backend=backend.name if grouped else "none",
            cpu_weight=measured.effective.weight,
            memory_max_bytes=measured.effective.memory_bytes,
            inside=above_limit.label(measured.above),
        ),
        block=run.block,
        seed=run.seed,
        started_utc=measured.started_utc,
        wall_ns=header.wall_ns,
        host=host,
        counters=Counters(
            cpu_ns=header.cpu_ns,
            nvcsw=header.nvcsw,
            nivcsw=header.nivcsw,
            threads_peak=header.threads_peak,
            nr_periods=throttling.nr_periods if throttling else None,
            nr_throttled=throttling.nr_throttled if throttling else None,
            throttled_ns=throttling.throttled_ns if throttling else None,
            nr_bursts=throttling.nr_bursts if throttling else None,
            burst_ns=throttling.burst_ns if throttling else None,
            group_usage_ns=throttling.usage_ns if throttling else None,
        ),
        partial=True,
        n=header.n,
        missed=header.missed,
        truncated=header.truncated,
        timer_slack_ns=header.timer_slack_ns,
        clock_read_ns=header.clock_read_ns,
        gomaxprocs=header.gomaxprocs,
        took_ns=measured.took_ns,
        sampling=measured.sampling,
        host_during=measured.host_during,
        above=measured.above,
        live=measured.output.live,
    )


def samples_frame(run_id: str, measured: Measured) -> pl.DataFrame:
    """The run's samples, a row each, in the order sleepbench gave them."""
    columns = dict(zip(COLUMNS, measured.output.samples, strict=True))
    count = measured.output.samples.shape[1]
    return (
        pl.DataFrame(columns)
        .with_columns(run_id=pl.lit(run_id), index=pl.arange(count, dtype=pl.Int64))
        .select(SAMPLE_SCHEMA.names())
    )


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
