"""An experiment as a job on another host: run with the programs that were sent there, and its data brought back."""

import io
import zipfile
from pathlib import Path
from typing import Any

from nanonap.lab.experiments.main import ABOUT, DATA, run_experiment
from nanonap.lab.fleet.jobs import BUNDLE
from nanonap.lab.store.write import made_folder


def measure(folder: Path, name: str, **options: Any) -> None:  # noqa: ANN401 - those of run_experiment
    """In a job's own process: run it with the programs of the job's folder; its data and where they are from, bundled.

    Raises as ``run_experiment``.
    """
    result = run_experiment(
        name, **options, out=folder / "result", build_root=folder / "build", patched_root=folder / "patched"
    )
    with zipfile.ZipFile(folder / BUNDLE, "w") as bundle:
        for each in (DATA, ABOUT):
            bundle.write(result / each, each)


def keep(bundle: bytes, results: Path, at: str) -> Path:
    """A new folder in ``results``, as a run here leaves, whose name ends with ``at``. Raises OutputNotWritable."""
    made = made_folder(results, None)
    folder = made.rename(made.with_name(f"{made.name}{at}"))
    with zipfile.ZipFile(io.BytesIO(bundle)) as content:
        for each in (DATA, ABOUT):  # a run is known by its ABOUT
            (folder / each).write_bytes(content.read(each))
    return folder
