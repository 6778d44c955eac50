"""Writes the tables of docs/services.md anew, from the runs beside this file. From a checkout: PYTHONPATH=. python …"""

import re
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from nanonap.base.files import write_text
from nanonap.lab.ab.judged import Judged, Row, judge_runs, seen, shown, tell
from nanonap.lab.ab.store import read

HERE = Path(__file__).parent
PAGE = HERE.parent / "services.md"
PATCHED = "netpoll+slack1"
#: Folder: program and version, the work, the figure in which the timer shows, the cost to tell.
SERVICES = {
    "hey": ("hey 0.1.4", "one worker is to ask 2,000 times a second", "rate", "CPU time / requests"),
    "hey50": ("hey 0.1.4", "ten workers are to ask 50 times a second each", "rate", "CPU time / requests"),
    "ffuf": ("ffuf 1.1.0", "four workers pause 2 ms after each request", "rate", "CPU time / requests"),
    "nats": ("nats-server 2.15.1", "replays a stream at the pace it came, 2 … 6 ms", "over a message", "CPU time"),
    "caddy": ("caddy 2.11.7", "proxy, flushes 500 µs after a piece came", "piece", "CPU time"),
    "traefik": ("traefik 3.7.15", "proxy, flushes 2 ms after a piece came", "piece", "CPU time"),
    "http3": ("caddy 2.11.7", "serves files by HTTP/3", "MiB a second", "CPU time"),
    "prometheus": ("prometheus 2.42.0", "scrapes every 25 ms", "late", "CPU time"),
    "influxdb": ("influxdb 1.6.7~rc0", "takes writes; its log is synced every 500 µs", "write", "CPU time"),
    "etcd": ("etcd 3.4.23", "puts, gets, heartbeats every 5 ms", "put", "CPU time"),
    "rclone": ("rclone 1.60.1", "sends a file, limited to 8 MiB/s", "whole", "CPU time"),
    "esbuild": ("esbuild 0.28.2", "bundles anew for every request", "build", "CPU time"),
}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(each) + " |" for each in (columns, ["---"] * len(columns), *rows))


def told(row: Row) -> str:
    """Bold where it differs, with an equals sign where it is the same within 5 %."""
    text = tell(row.effect, row.unit)
    return {"yes": f"**{text}**", "no": f"= {text}"}.get(row.outcome, text)


def least(row: Row) -> str:
    """The smallest difference that so many runs show."""
    return "–" if row.effect is None or not row.effect.least else seen(row.effect, row.unit, row.effect.least)


def whole(judged: Judged) -> str:
    """A service's table: a figure a row."""
    arms = judged.about.arms[1:]
    rows = []
    for figure, found in groupby(judged.rows, lambda row: row.figure):
        by_arm = {row.arm: row for row in found}
        patched = by_arm[PATCHED]
        cells = [told(by_arm[arm]) if arm in by_arm else "–" for arm in arms]
        stock = shown(patched.stock_median, patched.unit)
        rows.append([figure, stock, shown(patched.median, patched.unit), *cells, least(patched)])
    said = [f"`ab` warns: {each}." for each in judged.warnings]
    return "\n\n".join([table(["", "stock", PATCHED, *(f"{arm} × stock" for arm in arms), "sees"], rows), *said])


def overview(found: dict[str, Judged]) -> str:
    """A service a row, in PATCHED."""
    rows = []
    for name, judged in found.items():
        program, work, figure, cost = SERVICES[name]
        own = {row.figure: row for row in judged.rows if row.arm == PATCHED}
        first = own[figure]
        medians = f"{figure}: {shown(first.stock_median, first.unit)} → {shown(first.median, first.unit)}"
        cells = [f"[{program}](#{name})", work, medians, told(first), least(first)]
        rows.append([*cells, told(own[cost]), least(own[cost])])
    return table(
        [
            "program",
            "work",
            "stock → patched",
            "× stock",
            "sees",
            "CPU time × stock (a request, of hey and ffuf)",
            "sees",
        ],
        rows,
    )


def when(found: dict[str, Judged]) -> str:
    """Where and when, and how busy the machine was: of each comparison, as it began."""
    abouts = [judged.about for judged in found.values()]
    hosts = " and on ".join(sorted({each.host.short for each in abouts}))
    days = sorted({each.started_utc[:10] for each in abouts})
    busy = sorted((each.host.load_average or [0.0])[0] for each in abouts)
    runs = " or ".join(map(str, sorted({each.runs for each in abouts})))
    return (
        f"Measured on {hosts}, {' and '.join(days)}. The machine was not idle: its load average was {busy[0]:.1f} to "
        f"{busy[-1]:.1f} as the comparisons began. In each the arms were run in turns, in shuffled blocks, {runs} runs "
        "an arm; the intervals are of the ratios within a block."
    )


def page(text: str) -> str:
    """The page with its tables written anew; a table of what is not measured says so."""
    found = {name: judge_runs(*read(HERE / name)) for name in SERVICES if (HERE / name).is_dir()}
    tables = {name: whole(judged) for name, judged in found.items()}
    tables |= {"overview": overview(found), "when": when(found)}
    for name, made in tables.items():
        place = re.compile(rf"(<!-- {name} -->\n)[^<]*(<!-- end -->)")
        found_at = place.search(text)
        if not found_at:
            sys.exit(f"{PAGE}: no place for {name}")
        text = f"{text[: found_at.end(1)]}{made}\n{text[found_at.start(2) :]}"
    return text


if __name__ == "__main__":
    write_text(PAGE, page(PAGE.read_text(encoding="utf-8")))
