"""Results of cells, kept in ``<folder>/cells/<release>-<mode>.json``."""

import json
from pathlib import Path

from nanonap.base.files import as_ours, write_text
from nanonap.trials.matrix.cells import Cell
from nanonap.trials.matrix.result import Result, State, result_from_json


def kept_result(folder: Path, cell: Cell, key: str) -> Result | None:
    """The cell's result if there is one that still holds: same programs, patcher and steps, and no failure."""
    result = last_result(folder, cell)
    return result if result is not None and result.key == key and result.state is not State.FAILED else None


def last_result(folder: Path, cell: Cell) -> Result | None:
    """The cell's last result, whether it holds or not."""
    try:
        return result_from_json(json.loads(_path(folder, cell).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_result(folder: Path, cell: Cell, result: Result) -> None:
    """Write a cell's result, whole or not at all. Raises OutputNotWritable, DiskFull."""
    path = _path(folder, cell)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise as_ours(error, path) from error
    write_text(path, json.dumps(result.to_json(), indent=1) + "\n")


def _path(folder: Path, cell: Cell) -> Path:
    return folder / "cells" / f"{cell.name}.json"
