"""Every plot that a result's data allow, written into its folder."""

from collections import defaultdict
from pathlib import Path

from nanonap.lab.judge.analysis import Analysis, CellRow
from nanonap.lab.plan.conditions import is_apart, is_scheduled
from nanonap.lab.show.plots.attribution import explained_plots
from nanonap.lab.show.plots.distributions import ecdf_name, ecdf_plot, percentile_name, percentile_plot
from nanonap.lab.show.plots.drift import drift_plot
from nanonap.lab.show.plots.forest import forest_plot
from nanonap.lab.show.plots.heat import heat_plot
from nanonap.lab.show.plots.model import model_plot
from nanonap.lab.show.plots.picture import Drawn, Picture, paint
from nanonap.lab.show.plots.price import price_plot
from nanonap.lab.show.plots.problem import problem_plot
from nanonap.lab.show.tables import by_condition
from nanonap.lab.stats.cells import Cell


def draw_plots(folder: Path, analysis: Analysis, footnote: str) -> dict[str, Picture]:
    """Name → picture; each is ``<name>.png`` in the folder too. Raises OutputNotWritable, DiskFull."""
    summary = analysis.summary
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for key, cell in analysis.cells.items():
        groups[key.condition].append(cell)
    sleeping = next((cells for cells in groups.values() if not is_apart(cells[0].key.load)), [])
    first: list[CellRow] = next(iter(by_condition(summary).values()), [])
    drawn: dict[str, Drawn | None] = {
        "problem": problem_plot(analysis.cells),
        "forest": forest_plot(first),
        "heat": heat_plot(summary),
        "drift": drift_plot(sleeping, summary.control),
        "price": price_plot(summary),
        "model": model_plot(summary.model),
    }
    for condition, cells in groups.items():
        if is_scheduled(condition[1]) or not is_apart(condition[1]):
            drawn[ecdf_name(*condition)] = ecdf_plot(cells)
            drawn[percentile_name(*condition)] = percentile_plot(cells)
    if analysis.explained is not None:
        drawn |= explained_plots(*analysis.explained)
    return {name: paint(each, folder / f"{name}.png", footnote) for name, each in drawn.items() if each is not None}
