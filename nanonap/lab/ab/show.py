"""An A/B for a person: a table and sentences in the terminal, a plot, a page."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.markup import escape

from nanonap.base.files import write_text
from nanonap.base.terminal import command
from nanonap.lab.ab.judged import FALSE_FINDS, Judged, Row, seen, shown, tell
from nanonap.lab.ab.store import ABOUT, STOCK
from nanonap.lab.plan.arms import CONTROL
from nanonap.lab.show.page import facts_of, hashed, image_of, render
from nanonap.lab.show.plots.forest import forest
from nanonap.lab.show.plots.picture import Drawn, paint
from nanonap.lab.show.tables import NONE, Section, Table
from nanonap.lab.show.terminal import print_table, wide
from nanonap.lab.store.write import RUNS

PAGE, PICTURE = "report.html", "ab.png"
_ORDER = ("yes", "no", "not settled", "not measured")
_KINDS = {"load": "What the load saw", "service": "What the service cost while the load ran"}
_NOTES = (
    "Medians over the runs. × stock: the mean over blocks of the arm's ratio to stock in the same block, and its 95 % "
    "interval; a difference where a figure is 0. 80 % of such A/Bs see a difference of at least what stands under "
    "sees; half of it takes the runs under for half.",
    f"differs: yes if noise explains it badly (at most {FALSE_FINDS:.0%} of all that is called so is noise), no if the "
    "whole interval is within 5 % of stock's.",
)


def headline(judged: Judged) -> str:
    """What differs."""
    rows = [row for row in judged.rows if row.outcome == "yes"]
    if not rows:
        return "Nothing that was measured differs from stock beyond noise"
    best = [f"{row.figure} {tell(row.effect, row.unit)} with {row.arm}" for row in _sorted(rows)[:3]]
    more = f", and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f"Beyond noise: {'; '.join(best)}{more}"


def where(judged: Judged) -> str:
    """The program, the machine, and when."""
    about = judged.about
    go = f", {about.go.replace('go', 'Go ', 1)}" if about.go else ""
    return f"{about.program}{go}, on {about.host.short}. Measured {about.started_utc[:16].replace('T', ' ')} UTC."


def tables(judged: Judged) -> list[Table]:
    """A table for the load's figures and one for the service's, a section a figure, a row an arm."""
    columns = ("arm", "median", "× stock [95 %]", "differs", "sees", "for half", "runs")
    found = []
    for kind, title in _KINDS.items():
        own = [row for row in judged.rows if row.kind == kind]
        sections = [Section(name, _cells(list(rows))) for name, rows in groupby(own, lambda row: row.figure)]
        found.append(Table(title, columns, sections, list(_NOTES) if kind == "load" else []))
    return found


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    first = rows[0]
    cells = [[STOCK, shown(first.stock_median, first.unit), *[NONE] * 4, str(first.blocks)]]
    for row in rows:
        effect = row.effect
        sees, half = NONE, NONE
        if effect is not None and effect.least:
            sees, half = seen(effect, row.unit, effect.least), str(effect.for_half)
        answers = [tell(effect, row.unit), row.outcome, sees, half, str(row.blocks)]
        cells.append([row.arm, shown(row.median, row.unit), *answers])
    return cells


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """What is of most interest first; without what was the same in every run, and stock against itself."""
    telling = [
        row for row in rows if row.outcome == "yes" or (row.arm != CONTROL and (row.effect is None or row.effect.least))
    ]
    return sorted(telling, key=lambda row: (_ORDER.index(row.outcome), row.kind != "load"))


def print_judged(judged: Judged, folder: Path) -> None:
    """To stdout."""
    console = wide()
    console.print(f"[bold]{escape(headline(judged))}[/]\n{escape(where(judged))}\n", highlight=False)
    for table in tables(judged):
        print_table(table)
    for row in _sorted(judged.rows):
        console.print(f"[bold]{escape(f'{row.figure}, {row.arm}')}[/]: {escape(row.sentence)}", highlight=False)
    for warning in judged.warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}", highlight=False)
    console.print(f"\n{escape(str(folder / PAGE))}", highlight=False, soft_wrap=True)


def draw(judged: Judged, folder: Path) -> None:
    """Write the plot and the page into the folder. Raises OutputNotWritable, DiskFull."""
    points = {}
    for name, rows in groupby(judged.rows, lambda row: row.figure):
        ratios = {row.arm: row.effect for row in rows if row.effect is not None and row.effect.relative}
        if ratios:
            points[_plain(name)] = {arm: (effect.value, effect.interval) for arm, effect in ratios.items()}
    images = []
    if points:
        alt = "; ".join(f"{row.figure} of {row.arm}: {tell(row.effect, row.unit)}" for row in judged.rows)
        figure = forest("A multiple of stock's, with 95 % intervals", judged.about.arms[1:], points)
        images.append(image_of(paint(Drawn(figure, alt), folder / PICTURE, _plain(where(judged)))))
    page = render(
        "ab.html.jinja",
        headline=headline(judged),
        where=where(judged),
        about=judged.about,
        rows=_sorted(judged.rows),
        tables=tables(judged),
        images=images,
        warnings=judged.warnings,
        facts=facts_of(judged.about.host),
        again=command("ab", "--folder", folder),
        raw=[hashed(folder / name, "") for name in (RUNS, ABOUT)],
    )
    write_text(folder / PAGE, page)


def _plain(text: str) -> str:
    """For a plot, in which a dollar sign would begin a formula."""
    return text.replace("$", r"\$")
