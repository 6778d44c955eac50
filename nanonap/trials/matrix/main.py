"""What `invoke matrix` does."""

import json
from pathlib import Path

from nanonap.base.files import check_place, write_text
from nanonap.trials.errors import MatrixFailed
from nanonap.trials.matrix.cells import chosen_cells
from nanonap.trials.matrix.page import as_markdown
from nanonap.trials.matrix.result import State
from nanonap.trials.matrix.run import FOLDER, run_matrix
from nanonap.trials.matrix.show import matrix_json, show_results


def matrix(go: str, mode: str, *, again: bool, as_json: bool, markdown: Path | None) -> None:
    """Run the chosen cells and show them. Raises MatrixFailed if one failed, after all are shown and kept."""
    if markdown is not None:
        check_place(markdown)
    results = run_matrix(chosen_cells(go, mode), again=again)
    if as_json:
        print(json.dumps(matrix_json(results), indent=1))
    else:
        show_results(results)
    if markdown is not None:
        write_text(markdown, as_markdown(results))
    failed = [f"{each.release} {each.mode}" for each in results if each.state is State.FAILED]
    if failed:
        raise MatrixFailed(f"{len(failed)} of {len(results)} cells failed: {', '.join(failed)}; see {FOLDER}/cells")
