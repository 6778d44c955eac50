"""A group's counters over time: gosrc/statsampler started beside the group, and what it wrote, as a frame."""

import os
import select
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self, cast

import msgspec
import numpy as np
import polars as pl

from nanonap.base.errors import NanonapError, UsageError
from nanonap.base.paths import TRIED
from nanonap.lab.quota.base import StatFiles
from nanonap.toolchain.build import build
from nanonap.toolchain.wheels import DEFAULT_GO

DEFAULT_HZ, MAX_HZ = 250, 2_000
PROGRAM = "statsampler"
SCHEMA = 1
#: What the sampler writes, in this order (columns in gosrc/statsampler/sampler.go).
_COLUMNS = (
    *("deadline_ns", "before_ns", "after_ns"),
    *("nr_periods", "nr_throttled", "throttled_ns", "nr_bursts", "burst_ns", "usage_ns"),
)
COUNTERS = _COLUMNS[3:]
SERIES_SCHEMA = pl.Schema(dict.fromkeys(("monotonic_ns", "read_ns", "deadline_ns", *COUNTERS), pl.Int64))
#: How a run's sampling went: the fields of ``About`` with ``cpu_share``, or why it ``failed``.
Sampling = dict[str, str | int | float | None]
_ABSENT = -1
_START_S, _END_S = 10.0, 10.0


class _Header(msgspec.Struct):
    """What the sampler says before its first sample."""

    schema: int
    columns: tuple[str, ...]
    interval_ns: int
    first_deadline_ns: int
    resolution_ns: int
    priority: str


class _Trailer(msgspec.Struct):
    """What it says at its end, if it comes to one."""

    wall_ns: int | None = None
    cpu_ns: int | None = None
    ended: str = "killed"


class SamplerFailed(NanonapError):
    """The sampler could not start, or ended before it was asked to; the message has its own words."""

    exit_code: ClassVar[int] = 46


@dataclass(frozen=True)
class About:
    """How the sampling went.

    ``interval_ns`` lies between two deadlines, which are whole multiples of it after ``first_deadline_ns``
    (CLOCK_MONOTONIC); ``missed`` deadlines had passed before the sampler came to them; ``largest_gap_ns`` is the
    longest time between two samples (0 for fewer than two). ``cpu_ns`` is the sampler's own CPU time in ``wall_ns``,
    both None where it was killed. ``resolution_ns`` is the counters' unit: 1 on cgroup v1, 1_000 on v2. ``ended``:
    ``stdin`` (as asked), ``signal``, ``removed`` (the group was), or ``killed``. ``priority`` is what its thread was
    given: ``fifo 1`` where it may have that, so that it is in time on a busy machine, or ``nice -20``, or ``nice 0``.
    """

    interval_ns: int
    first_deadline_ns: int
    resolution_ns: int
    samples: int
    missed: int
    largest_gap_ns: int
    wall_ns: int | None
    cpu_ns: int | None
    ended: str
    priority: str

    @property
    def cpu_share(self) -> float | None:
        """The share of one CPU that the sampler took."""
        return None if self.cpu_ns is None or not self.wall_ns else self.cpu_ns / self.wall_ns

    def to_json(self) -> Sampling:
        """The fields and ``cpu_share``."""
        return {**vars(self), "cpu_share": self.cpu_share}


def sampler_program() -> Path:
    """The sampler's file, built if need be. Raises as ``nanonap.toolchain.build.build``."""
    return build(DEFAULT_GO, "default", programs=(PROGRAM,), out=TRIED)[0].path


class Sampler:
    """Samples a group's counters from ``start`` to ``stop``, or while a ``with`` block runs.

    The sampler runs where this process runs, not in the group. It ends when this process does, however that ends, and
    leaves no file: its samples are in one without a name.
    """

    def __init__(self, files: StatFiles, program: Path | None = None, hz: int = DEFAULT_HZ) -> None:
        """Nothing runs yet. ``program`` None: built if need be. Raises UsageError, and as ``build``."""
        if not 1 <= hz <= MAX_HZ:
            raise UsageError(f"{hz} samples per second: the sampler takes 1 to {MAX_HZ}")
        self.files, self.hz = files, hz
        self.about: About | None = None
        self._program = program if program is not None else sampler_program()
        self._child: subprocess.Popen[bytes] | None = None
        self._samples: IO[bytes] | None = None
        self._frame: pl.DataFrame | None = None
        self._header: _Header | None = None

    def start(self) -> Self:
        """Start; returns when the first sample is about to be taken. Raises SamplerFailed."""
        self._samples = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop(), whatever happens between
        try:
            descriptor = self._samples.fileno()
            command = [str(self._program), "-stat", str(self.files.cpu_stat), "-hz", str(self.hz)]
            if self.files.usage is not None:
                command += ["-usage", str(self.files.usage)]
            command += ["-samples", f"/proc/self/fd/{descriptor}"]
            # A session of its own: the terminal's Ctrl-C is for us, and we end it through its stdin.
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(descriptor,),
                start_new_session=True,
            )
            self._header = self._read_header(self._child)
        except OSError as error:
            self._abandon()
            raise SamplerFailed(f"{self._program}: cannot be started ({os.strerror(error.errno or 0)})") from error
        except BaseException:
            self._abandon()
            raise
        return self

    def _read_header(self, child: subprocess.Popen[bytes]) -> _Header:
        stdout = cast(IO[bytes], child.stdout)  # a pipe, by the arguments above
        ready, _, _ = select.select([stdout], [], [], _START_S)
        line = stdout.readline() if ready else b""
        if not line:
            child.kill()
            _, said = child.communicate()
            reason = said.decode(errors="replace").strip() or f"it did not begin within {_START_S:.0f} s"
            raise SamplerFailed(f"{self.files.cpu_stat}: not sampled: {reason}")
        try:
            header = msgspec.json.decode(line, type=_Header)
        except msgspec.DecodeError:
            header = None
        if header is None or header.schema != SCHEMA or header.columns != _COLUMNS:
            raise SamplerFailed(f"{self._program}: its samples have another format; build it again")
        return header

    def stop(self) -> pl.DataFrame:
        """End the sampler; its samples in order of time: a frame of SERIES_SCHEMA, null where there is no counter.

        ``monotonic_ns`` (CLOCK_MONOTONIC) is just before the counters were read, which took ``read_ns``;
        ``deadline_ns`` is when that was to be. Safe to call again. Raises SamplerFailed if it had failed, or was never
        started.
        """
        if self._frame is None:
            child, samples, header = self._child, self._samples, self._header
            if child is None or samples is None or header is None:
                raise SamplerFailed(f"{self.files.cpu_stat}: the sampler was not started")
            try:
                status, trailer, said = _end(child)
                if status > 0:
                    raise SamplerFailed(f"{self.files.cpu_stat}: sampling stopped: {said or f'exit status {status}'}")
                samples.seek(0)
                self._frame = _frame(samples.read())
                self.about = _about(header, trailer, self._frame)
            finally:
                self._abandon()
        return self._frame

    def _abandon(self) -> None:
        """End what runs and let go of the samples."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None
        if self._samples is not None:
            self._samples.close()
            self._samples = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Stop; an error of the block goes before one of the sampler."""
        if error is not None:
            self._abandon()
        else:
            self.stop()


def _end(child: subprocess.Popen[bytes]) -> tuple[int, bytes, str]:
    """Ask the sampler to end by closing its stdin: (status, its last line, its stderr)."""
    try:
        stdout, stderr = child.communicate(timeout=_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        stdout, stderr = child.communicate()
    return child.returncode, stdout, stderr.decode(errors="replace").strip()


def _frame(raw: bytes) -> pl.DataFrame:
    whole = len(raw) // (8 * len(_COLUMNS)) * len(_COLUMNS)  # a killed sampler may leave part of a row
    rows = np.frombuffer(raw, dtype="<i8", count=whole).reshape(-1, len(_COLUMNS)).astype(np.int64)
    read = dict(zip(_COLUMNS, np.ascontiguousarray(rows.T), strict=True))
    times = {
        "monotonic_ns": read["before_ns"],
        "read_ns": read["after_ns"] - read["before_ns"],
        "deadline_ns": read["deadline_ns"],
    }
    counters = {name: pl.Series(read[name]).replace(_ABSENT, None) for name in COUNTERS}
    return pl.DataFrame({**times, **counters}, schema=SERIES_SCHEMA)


def _about(header: _Header, trailer: bytes, frame: pl.DataFrame) -> About:
    end = msgspec.json.decode(trailer, type=_Trailer) if trailer.strip() else _Trailer()
    times, deadlines = (frame[name].to_numpy() for name in ("monotonic_ns", "deadline_ns"))
    due = (int(deadlines[-1]) - header.first_deadline_ns) // header.interval_ns + 1 if len(deadlines) else 0
    return About(
        interval_ns=header.interval_ns,
        first_deadline_ns=header.first_deadline_ns,
        resolution_ns=header.resolution_ns,
        samples=frame.height,
        missed=due - len(deadlines),
        largest_gap_ns=int(np.diff(times).max()) if len(times) > 1 else 0,
        wall_ns=end.wall_ns,
        cpu_ns=end.cpu_ns,
        ended=end.ended,
        priority=header.priority,
    )
