"""The matrix for a person, a table and the reasons below it; and for a script."""

from collections import Counter

from rich.box import SIMPLE_HEAD
from rich.table import Table

from nanonap.base.terminal import answers
from nanonap.toolchain.modes import mode_of
from nanonap.toolchain.targets import AMD64, Target
from nanonap.trials.matrix.cells import variants_for
from nanonap.trials.matrix.result import Result, State

_STYLES = {State.OK: "green", State.REFUSED: "yellow", State.FAILED: "bold red"}


def columns(results: list[Result]) -> tuple[str, ...]:
    """The arms, a column each."""
    return tuple(each.name for each in variants_for(target_of(results)))


def target_of(results: list[Result]) -> Target:
    """What the cells' programs are built for: the same in all."""
    modes = (mode_of(each.mode) for each in results)
    return next((mode.target for mode in modes if mode is not None), AMD64)


def show_results(results: list[Result]) -> None:
    """One row per cell, one column per strategy; below, why a cell is not ok."""
    names = columns(results)
    table = Table("Go", "mode", *names, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for result in results:
        arms = {arm.name: arm for arm in result.arms}
        states = (arms[name].state if name in arms else State.FAILED for name in names)
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
