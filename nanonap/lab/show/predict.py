"""`invoke predict`: what the model says of quotas and busy threads, without running anything."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from nanonap.base.durations import format_ns, parse_duration_ns
from nanonap.base.errors import UsageError
from nanonap.lab.model.model import GRANULARITY_NS, Prediction, Sleeper, predict
from nanonap.lab.plan.conditions import parts_of
from nanonap.lab.quota.limits import parse_quota
from nanonap.lab.show.tables import Section, Table
from nanonap.lab.show.terminal import print_table

SCHEMA = 1
_COLUMNS = ("quota", "threads", "at once", "runs", "stalls", "sleeps hit", "late mean", "p90", "p99", "at most")
_OWN_COLUMNS = ("quota", "sleepers", "each sleeps", "then runs", "quota needed", "takes")
_MOST = 200
_NONE = "–"


def run_predict(
    quota: str,
    threads: str = "1",
    cpus: int | None = None,
    gomaxprocs: int | None = None,
    sleep: str | None = None,
    wake_cpu: str | None = None,
    sleepers: int | None = None,
    plot: Path | None = None,
) -> list[Prediction]:
    """Predictions for every quota of ``quota`` with every number of ``threads`` (both comma-separated).

    ``sleep`` and ``wake_cpu`` (durations, together) add what ``sleepers`` alone need. ``plot`` is a PNG to write.
    Raises UsageError, OutputNotWritable, DiskFull.
    """
    quotas = [parse_quota(part) for part in parts_of("--quota", quota)]
    counts = [_whole("--threads", part) for part in parts_of("--threads", threads)]
    if len(quotas) * len(counts) > _MOST:
        raise UsageError(f"--quota and --threads: {len(quotas) * len(counts)} predictions; at most {_MOST} at a time")
    sleeper = _sleeper(sleep, wake_cpu, sleepers)
    predictions = [
        predict(one, count, cpus, gomaxprocs, GRANULARITY_NS, sleeper)
        for one, count in itertools.product(dict.fromkeys(quotas), dict.fromkeys(counts))
    ]
    if plot is not None:
        from nanonap.lab.show.plots.prediction import draw_predictions  # noqa: PLC0415 - Matplotlib takes a second to load

        draw_predictions(predictions, plot)
    return predictions


def _sleeper(sleep: str | None, wake_cpu: str | None, sleepers: int | None) -> Sleeper | None:
    if sleep is None and wake_cpu is None and sleepers is None:
        return None
    if sleep is None or wake_cpu is None:
        raise UsageError("--sleep and --wake-cpu go together: how long a sleep lasts, and the CPU time of a wake-up")
    return Sleeper(parse_duration_ns(sleep), parse_duration_ns(wake_cpu), 1 if sleepers is None else sleepers)


def _whole(option: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise UsageError(f"{option} {text}: not a whole number of threads, such as 2")
    return int(text)


def predictions_json(predictions: Sequence[Prediction]) -> dict[str, object]:
    """The one document of ``--json``."""
    return {"schema": SCHEMA, "predictions": [each.to_json() for each in predictions]}


def show_predictions(predictions: Sequence[Prediction]) -> None:
    """Print tables."""
    print_table(prediction_table(predictions))
    alone = list({str(each.quota): each for each in predictions if each.sleeper is not None}.values())
    if alone:
        print_table(own_table(alone))


def prediction_table(predictions: Sequence[Prediction]) -> Table:
    """A row per prediction."""
    first = predictions[0]
    limited = "" if first.gomaxprocs is None else f" and GOMAXPROCS {first.gomaxprocs}"
    cpus = f"{first.cpus} CPU{'s' if first.cpus > 1 else ''}{limited}"
    notes = [
        f"at once: busy threads that run at the same time, with {cpus}. runs, stalls: on average in a period.",
        "sleeps hit, late: by stalls alone, of sleeps that end at random times.",
        f"at most: a stall may be {format_ns(first.granularity_ns)} longer (slice and tick), and whole periods longer "
        "where a tick takes more than a quota.",
        *_escape_notes(predictions),
        *dict.fromkeys(_burst_notes(predictions)),
    ]
    rows = [_row(each) for each in predictions]
    return Table("Predicted: busy threads under a quota", _COLUMNS, [Section("", rows)], notes)


def _row(each: Prediction) -> list[str]:
    first = [str(each.quota), str(each.threads), str(each.busy)]
    if not each.throttled:
        return [*first, "all", "never", "0%", *[_NONE] * 4]
    return [
        *first,
        format_ns(each.run_ns),
        format_ns(each.stall_ns),
        f"{each.hit_probability:.0%}",
        format_ns(each.late_mean_ns),
        format_ns(each.late_quantile_ns(0.9)),
        format_ns(each.late_quantile_ns(0.99)),
        format_ns(each.stall_range_ns[1]),
    ]


def _escape_notes(predictions: Sequence[Prediction]) -> list[str]:
    if not any(each.may_escape for each in predictions):
        return []
    return [
        "With fewer threads at once than CPUs a sleeper may wake on a CPU that has some quota left, and not be "
        "stopped: sleeps hit and late are upper bounds."
    ]


def _burst_notes(predictions: Sequence[Prediction]) -> list[str]:
    return [
        f"{each.quota}, {each.busy} at once: the first stall after an idle period comes after {format_ns(after)}, "
        f"not {format_ns(each.run_ns)}; later ones are as without burst."
        for each in predictions
        if each.quota.burst_ns and (after := each.first_stall_after_ns) is not None
    ]


def own_table(predictions: Sequence[Prediction]) -> Table:
    """What sleepers alone need: a row per quota."""
    notes = ["takes: how long a sleep and its wake-up take, on average, where nothing else runs in the group."]
    rows = []
    for each in predictions:
        sleeper, share, stretch = each.sleeper, each.own_share, each.own_stretch
        if sleeper is None:
            continue
        whole_ns = (sleeper.sleep_ns + sleeper.wake_cpu_ns) * (stretch or 1.0)
        rows.append(
            [
                str(each.quota),
                str(sleeper.count),
                format_ns(sleeper.sleep_ns),
                format_ns(sleeper.wake_cpu_ns),
                _NONE if share is None else f"{share:.0%}",
                format_ns(whole_ns) + (f" ({stretch:.1f} ×)" if stretch is not None and stretch > 1 else ""),
            ]
        )
    return Table("Predicted: sleepers alone under a quota", _OWN_COLUMNS, [Section("", rows)], notes)
