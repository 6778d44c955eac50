"""The matrix for a person, a table and the reasons below it; and for a script."""

from collections import Counter

from rich.box import SIMPLE_HEAD
from rich.table import Table

from nanonap.base.terminal import answers
from nanonap.toolchain.patched import VARIANTS
from nanonap.trials.matrix.result import Result, State

#: The arms, a column each.
COLUMNS = tuple(each.name for each in VARIANTS)
_STYLES = {State.OK: "green", State.REFUSED: "yellow", State.FAILED: "bold red"}


def show_results(results: list[Result]) -> None:
    """One row per cell, one column per strategy; below, why a cell is not ok."""
    table = Table("Go", "mode", *COLUMNS, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for result in results:
        arms = {arm.name: arm for arm in result.arms}
        states = (arms[name].state if name in arms else State.FAILED for name in COLUMNS)
        table.add_row(result.release, result.mode, *(f"[{_STYLES[each]}]{each}[/]" for each in states))
    answers().print(table)
    for line in reasons(results):
        answers().print(line, highlight=False, markup=False, soft_wrap=True)


def reasons(results: list[Result]) -> list[str]:
    """One line for every reason and the cells that have it."""
    said: dict[str, list[str]] = {}
    for result in results:
        cell = f"{result.release} {result.mode}"
        if result.problem:
            said.setdefault(f"failed: {result.problem}", []).append(cell)
        for arm in result.arms:
            if arm.state is not State.OK:
                said.setdefault(f"{arm.state}: {arm.reason}", []).append(f"{cell} {arm.name}")
    return [f"{', '.join(cells)}: {reason}" for reason, cells in said.items()]


def matrix_json(results: list[Result]) -> dict[str, object]:
    """All cells, and how many of them ended how."""
    return {"states": dict(counted(results)), "cells": [each.to_json() for each in results]}


def counted(results: list[Result]) -> Counter[str]:
    """How many cells ended how."""
    return Counter(str(each.state) for each in results)
