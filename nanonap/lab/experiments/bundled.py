"""An experiment as a job on another host: run with the programs that were sent there, and its data brought back."""

import io
import zipfile
from pathlib import Path
from typing import Any

from nanonap.base.files import as_ours, beside
from nanonap.lab.experiments.main import ABOUT, DATA, run_experiment
from nanonap.lab.fleet.jobs import BUNDLE
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.store.write import made_folder


def measure(folder: Path, name: str, **options: Any) -> None:  # noqa: ANN401 - those of run_experiment
    """In a job's own process: run it with the programs of the job's folder; its data and where they are from, bundled.

    Raises as ``run_experiment``.
    """
    result = run_experiment(
        name, **options, out=folder / "result", build_root=folder / "build", patched_root=folder / "patched"
    )
    with beside(folder / BUNDLE) as temporary, zipfile.ZipFile(temporary, "w") as bundle:
        for each in (DATA, ABOUT):
            bundle.write(result / each, each)


def keep(bundle: bytes, results: Path, at: str) -> Path:
    """A new folder in ``results``, as a run here leaves, whose name ends with ``at``.

    Raises BadResult for what is no bundle, DiskFull, OutputNotWritable.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as content:
            found = {each: content.read(each) for each in (DATA, ABOUT)}  # a run is known by its ABOUT: the last
    except (zipfile.BadZipFile, KeyError) as error:
        raise BadResult(f"what was sent is no result ({error})") from error
    made = made_folder(results, None)
    folder = made.rename(made.with_name(f"{made.name}{at}"))
    try:
        for name, data in found.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise as_ours(error, folder) from error
    return folder
