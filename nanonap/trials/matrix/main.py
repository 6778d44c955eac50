"""What `invoke matrix` does."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from nanonap.base.files import check_place, write_text
from nanonap.toolchain.targets import AMD64, Target
from nanonap.trials.errors import MatrixFailed
from nanonap.trials.matrix.cells import chosen_cells
from nanonap.trials.matrix.result import State
from nanonap.trials.matrix.run import FOLDER, run_matrix
from nanonap.trials.matrix.section import page_with
from nanonap.trials.matrix.show import matrix_json, show_results

if TYPE_CHECKING:
    from nanonap.lab.fleet.client import Fleet


def matrix(
    go: str,
    mode: str,
    *,
    again: bool,
    as_json: bool,
    markdown: Path | None,
    target: Target = AMD64,
    fleet: "Fleet | None" = None,
) -> None:
    """Run the chosen cells, here or on a fleet, and show them.

    Raises MatrixFailed if one failed, after all are shown and kept.
    """
    if markdown is not None:
        check_place(markdown)
    results = run_matrix(chosen_cells(go, mode, target), again=again, fleet=fleet)
    if as_json:
        print(json.dumps(matrix_json(results), indent=1))
    else:
        show_results(results)
    if markdown is not None:
        old = markdown.read_text(encoding="utf-8") if markdown.exists() else ""
        write_text(markdown, page_with(old, results))
    failed = [f"{each.release} {each.mode}" for each in results if each.state is State.FAILED]
    if failed:
        raise MatrixFailed(f"{len(failed)} of {len(results)} cells failed: {', '.join(failed)}; see {FOLDER}/cells")
