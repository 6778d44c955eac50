"""Every figure that a result's data allow, written into its folder."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.analysis import Analysis
from bench.cells import Cell
from bench.conditions import is_apart, is_scheduled
from bench.figures.distributions import ecdf_figure, ecdf_name, percentile_figure, percentile_name
from bench.figures.drift import drift_figure
from bench.figures.forest import forest_figure
from bench.figures.found import explained_figures, model_figure
from bench.figures.heat import heat_figure
from bench.figures.picture import Drawn, Picture, paint
from bench.figures.price import price_figure
from bench.figures.problem import problem_figure
from bench.tables import by_condition


def draw_figures(folder: Path, analysis: Analysis, footnote: str) -> dict[str, Picture]:
    """Name → picture; each is ``<name>.png`` in the folder too. Raises OutputNotWritable, DiskFull."""
    summary = analysis.summary
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for key, cell in analysis.cells.items():
        groups[key.condition].append(cell)
    sleeping = next((cells for cells in groups.values() if not is_apart(cells[0].key.load)), [])
    first: list[dict[str, Any]] = next(iter(by_condition(summary).values()), [])
    drawn: dict[str, Drawn | None] = {
        "problem": problem_figure(analysis.cells),
        "forest": forest_figure(first),
        "heat": heat_figure(summary),
        "drift": drift_figure(sleeping, summary.get("control")),
        "price": price_figure(summary),
        "model": model_figure(summary["model"]),
    }
    for condition, cells in groups.items():
        if is_scheduled(condition[1]) or not is_apart(condition[1]):
            drawn[ecdf_name(*condition)] = ecdf_figure(cells)
            drawn[percentile_name(*condition)] = percentile_figure(cells)
    if analysis.explained is not None:
        drawn |= explained_figures(*analysis.explained)
    return {name: paint(each, folder / f"{name}.png", footnote) for name, each in drawn.items() if each is not None}
