"""Bundles made and read by processes of their own: elsewhere, by the tasks, interrupted, on a full disk."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nanonap.base.errors import DiskFull, Interrupted
from nanonap.base.paths import PROJECT
from nanonap.lab.ground.errors import BadBundle
from nanonap.lab.store.write import SAMPLES
from tests import warm
from tests.lab.bundles.made_bundles import (
    made_runs,
)
from tests.lab.made import write_result
from tests.patience import PATIENCE_S
from tests.soon import soon

INVOKE = Path(sys.executable).with_name("invoke")


def _draw_elsewhere(folder: Path, cwd: Path, **environment: str) -> dict[str, bytes]:
    code = "import pathlib, sys; from nanonap.lab.show import report; report.write_report(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(folder)]
    subprocess.run(command, cwd=cwd, env={**os.environ, "PYTHONPATH": str(PROJECT), **environment}, check=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.long
def test_figures_do_not_depend_on_threads_hashes_locale_zone_or_processor(folder: Path, tmp_path: Path) -> None:
    """Of another processor numpy and BLAS would use other instructions, which may sum in another order."""
    optional = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    other = write_result(tmp_path / "elsewhere" / "x", made_runs(), json.loads((folder / "bench.json").read_text()))
    one = _draw_elsewhere(
        folder, tmp_path, PYTHONHASHSEED="1", POLARS_MAX_THREADS="1", TZ="Asia/Tokyo", LC_ALL="C", PYTHONUTF8="0"
    )
    two = _draw_elsewhere(
        other,
        Path("/"),
        PYTHONHASHSEED="2",
        POLARS_MAX_THREADS="2",
        TZ="America/St_Johns",
        LC_ALL="C.UTF-8",
        NPY_DISABLE_CPU_FEATURES=" ".join(optional),
        OPENBLAS_CORETYPE="Nehalem",
    )
    assert {name for name in one if name != SAMPLES and one[name] != two[name]} == set()
    assert {"summary.json", "report.html", "problem.png"} <= one.keys()


def _invoke(*words: str | Path, temporary: Path) -> warm.Started:
    return warm.start([warm.INVOKE, *words], env={**os.environ, "TMPDIR": str(temporary)})


def test_the_two_tasks(folder: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    made = _invoke("bundle", folder, "--out", tmp_path / "it.zip", "--json", temporary=temporary)
    stdout, stderr = made.communicate(timeout=PATIENCE_S)
    assert made.returncode == 0, stderr
    assert json.loads(stdout)["sha256"] == hashlib.sha256((tmp_path / "it.zip").read_bytes()).hexdigest()
    (tmp_path / "it.zip").write_bytes((tmp_path / "it.zip").read_bytes()[:-9])
    read = _invoke("report", tmp_path / "it.zip", temporary=temporary)
    stdout, stderr = read.communicate(timeout=PATIENCE_S)
    assert (read.returncode, stdout) == (BadBundle.exit_code, "")
    assert stderr.startswith("nanonap: ")
    assert not list(temporary.iterdir())


_TRIES = 20


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children take SIGINT, also where the tests run in the background of a shell, which ignores it for them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", soon([signal.SIGINT, signal.SIGTERM], 0))
def test_an_interrupted_bundle_leaves_nothing(folder: Path, tmp_path: Path, number: signal.Signals) -> None:
    where, temporary = tmp_path / "where", tmp_path / "temporary"
    where.mkdir()
    temporary.mkdir()
    for _ in range(_TRIES):
        process = _invoke("bundle", folder, "--out", where / "it.zip", temporary=temporary)
        while not list(temporary.glob("nanonap-bundle-*/result/summary.json")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE_S)
        if process.returncode != 0:
            break
        (where / "it.zip").unlink()  # on a busy machine it may be made before the signal comes
    assert said == ("", "nanonap: interrupted; nothing half-written is left\n")
    assert process.returncode == Interrupted.exit_code
    assert not list(where.iterdir())
    assert not list(temporary.iterdir())


FULL_DISK = 'mount -t tmpfs -o size=100k none "$1" && d=$1 && shift && { "$@"; s=$?; ls -A "$d"; exit $s; }'


@pytest.mark.long
def test_a_full_disk_is_said_so_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    small, temporary = tmp_path / "small", tmp_path / "temporary"
    small.mkdir()
    temporary.mkdir()
    around = ("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", FULL_DISK, "sh", str(small))
    if subprocess.run([*around, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root, to mount a small file system in a namespace")
    command = [*around, warm.INVOKE, "bundle", str(folder), "--out", str(small / "it.zip")]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(command, cwd=PROJECT, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == DiskFull.exit_code, done.stderr
    assert "it.zip: no room" in done.stderr
    assert done.stdout == ""
