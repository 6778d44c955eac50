"""report.html: one page that needs nothing but itself, to be shared, read on a phone, and printed."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader

from nanonap import __version__
from nanonap.lab.ground.hosts import Host
from nanonap.lab.judge.analysis import Summary
from nanonap.lab.quota import above_limit
from nanonap.lab.show.further_tables import attribution_tables, cluster_tables, control_tables, model_tables
from nanonap.lab.show.plots.distributions import ecdf_name, percentile_name
from nanonap.lab.show.plots.picture import Picture
from nanonap.lab.show.price_tables import by_workload, cost_tables
from nanonap.lab.show.tables import Table, by_condition, condition_title, full_tables
from nanonap.lab.show.wording import QUESTION, arm_lines, headline
from nanonap.lab.store.write import BENCH, RUNS, SAMPLES

#: Raw files, in the order of their weight, and what each holds.
_RAW = {
    RUNS: "one process run per line: arm, condition, counters, host",
    SAMPLES: "every sleep",
    BENCH: "the command, its parameters, what was noted",
    "summary.json": "every number of this page",
}


@dataclass(frozen=True)
class Raw:
    """A file beside the page."""

    name: str
    what: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Image:
    """A picture as the page holds it: data URIs for a light and a dark ground."""

    light: str
    dark: str
    alt: str
    width: int
    height: int


def as_html(folder: Path, summary: Summary, pictures: Mapping[str, Picture]) -> str:
    """The page. Images are in it; the raw files are linked, and found as long as the page lies in its folder."""
    images = {name: image_of(picture) for name, picture in pictures.items()}
    groups = by_condition(summary)
    conditions = [
        (table, _of(images, ecdf_name(*condition), percentile_name(*condition)))
        for table, condition in zip(full_tables(summary), groups, strict=True)
    ]
    found = [
        *((table, []) for table in cluster_tables(summary)),
        *((table, _of(images, "attribution", "timeline")) for table in attribution_tables(summary)),
        *((table, _of(images, "model")) for table in model_tables(summary)),
    ]
    return render(
        "report.html.jinja",
        question=QUESTION,
        headline=headline(summary),
        about=about_line(summary),
        limits=limits_line(summary),
        bitten=above_limit.bites(summary.above),
        summary=summary,
        mark=summary.bench.mark,
        measured=[condition_title(cells[0].condition) for cells in groups.values()],
        workloads=_workloads(summary),
        arms=arm_lines(summary),
        overview=_of(images, "problem"),
        conditions=conditions,
        ratios=_of(images, "forest", "heat"),
        drift=_of(images, "drift"),
        control=control_tables(summary),
        price=_of(images, "price"),
        costs=_costs(summary, images),
        found=found,
        facts=facts_of(summary.host),
        version=__version__,
        raw=_raw(folder),
        files=sorted(picture.file.name for picture in pictures.values()),
    )


def about_line(summary: Summary) -> str:
    """Go, the machine, and when it was measured."""
    started = (summary.bench.started_utc or "time unknown")[:16].replace("T", " ")
    partial = ", cut short" if summary.partial else ""
    return f"Go {summary.go_version} on {summary.host}. Measured {started} UTC{partial}."


def limits_line(summary: Summary) -> str:
    """The limits above what was measured; empty where that is not known."""
    return above_limit.says(summary.above)


def _of(images: Mapping[str, Image], *names: str) -> list[Image]:
    return [images[name] for name in names if name in images]


def _costs(summary: Summary, images: Mapping[str, Image]) -> list[tuple[Table, list[Image]]]:
    """Each cost table with its condition's pictures; the idle table, which is the last, has none."""
    pictures = [_of(images, ecdf_name(*each), percentile_name(*each)) for each in by_workload(summary)]
    tables = cost_tables(summary)
    return list(zip(tables, [*pictures, *([[]] * (len(tables) - len(pictures)))], strict=True))


def _workloads(summary: Summary) -> list[str]:
    conditions = [rows[0].condition for rows in by_workload(summary).values()]
    return list(dict.fromkeys(map(condition_title, [*conditions, *(row.condition for row in summary.idle)])))


def render(template: str, **values: object) -> str:
    """A page of this folder's templates; all that is put into it is escaped."""
    environment = Environment(loader=PackageLoader("nanonap.lab.show", "templates"), autoescape=True, trim_blocks=True)
    return environment.get_template(template).render(**values)


def image_of(picture: Picture) -> Image:
    """A picture as a page holds it."""
    return Image(_data_uri(picture.light), _data_uri(picture.dark), picture.alt, picture.width, picture.height)


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def facts_of(host: Host) -> list[tuple[str, str]]:
    """The machine as (name, value)."""

    def shown(value: Any) -> str:  # noqa: ANN401 - host facts are of any JSON type
        return "not known" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return [(name.replace("_", " "), shown(value)) for name, value in msgspec.to_builtins(host).items()]


def _raw(folder: Path) -> list[Raw]:
    """The raw files that are there, hashed: a reader can tell whether these are the data that the page was made of."""
    found = [(folder / name, what) for name, what in _RAW.items()]
    found += [(path, "recorded beside the runs") for path in sorted(folder.glob("*.parquet")) if path.name not in _RAW]
    return [hashed(path, what) for path, what in found if path.is_file()]


def hashed(path: Path, what: str) -> Raw:
    """A file of a result, and its SHA-256."""
    with path.open("rb") as stream:
        return Raw(path.name, what, path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())
