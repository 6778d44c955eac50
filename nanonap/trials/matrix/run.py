"""One cell, and the campaign of all of them: two at a time, each kept as soon as it is done."""

import hashlib
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TYPE_CHECKING

from nanonap.base.errors import Interrupted, NanonapError
from nanonap.base.paths import ARTIFACTS, PROJECT
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.guest.other import guest_for
from nanonap.toolchain.build import build_one
from nanonap.toolchain.go import Toolchain
from nanonap.toolchain.modes import MODES, Mode
from nanonap.toolchain.patched import Variant
from nanonap.toolchain.progress import progress_bar
from nanonap.toolchain.releases import release_toolchain
from nanonap.trials.matrix.cells import Cell, built_as, variants_for
from nanonap.trials.matrix.elsewhere import Guest, run_elsewhere
from nanonap.trials.matrix.kept import keep_result, kept_result, last_result
from nanonap.trials.matrix.result import SCHEMA, Arm, Result
from nanonap.trials.matrix.steps import ArmRun, Programs
from nanonap.trials.unwinding.asleep import quit_asleep
from nanonap.trials.unwinding.survivors import STOCK, Survivor, Unsound
from patcher import isolation

if TYPE_CHECKING:
    from nanonap.lab.fleet.client import Fleet

FOLDER = ARTIFACTS / "matrix"
_AT_ONCE = 2
#: Rooms of the patcher that no other one imports (tests/test_house.py): what they do to processes and images changes no
#: patch of a file.
ASIDE = ("live", "images")


def run_matrix(
    cells: list[Cell], *, again: bool = False, folder: Path = FOLDER, fleet: "Fleet | None" = None
) -> list[Result]:
    """Run every cell that has not been run, or with ``again`` every one; the results, in the order of the cells.

    With ``fleet`` on its workers. Raises what having a toolchain can raise. What fails in a cell is in its result.
    """
    if fleet is not None:
        return _run_there(cells, fleet, again=again, folder=folder)
    toolchains = {release: release_toolchain(release) for release in dict.fromkeys(cell.release for cell in cells)}
    results: dict[Cell, Result] = {}
    with ProcessPoolExecutor(_AT_ONCE, get_context("spawn"), _begin_worker) as pool, progress_bar() as bar:
        task = bar.add_task("matrix", total=len(cells))
        running: dict[Future[Result], Cell] = {
            pool.submit(_run_in_worker, cell, toolchains[cell.release], again=again, folder=folder): cell
            for cell in cells
        }
        try:
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    cell = running.pop(future)
                    results[cell] = future.result()
                    bar.update(task, advance=1, description=f"matrix, last {cell.name}: {results[cell].state}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in active_children():  # SIGTERM reaches this process alone
                if child.pid is not None:
                    os.kill(child.pid, signal.SIGINT)
            raise
    return [results[cell] for cell in cells]


def _run_there(cells: list[Cell], fleet: "Fleet", *, again: bool, folder: Path) -> list[Result]:
    """Each cell on a worker, beside what this side has kept of it, which holds if it is of the same programs."""
    from nanonap.lab.fleet.spread import spread  # noqa: PLC0415 - the extra ``fleet``

    orders = [(cell, None if again else last_result(folder, cell), again) for cell in cells]
    results: dict[Cell, Result] = {}
    with progress_bar() as bar:
        task = bar.add_task("matrix", total=len(cells))
        for (cell, _, _), done in spread(fleet, run_order, orders):
            died = "cannot be tried: each of three workers died of it"
            results[cell] = _result(cell, "", {}, time.monotonic(), (), died) if done.died else done.result
            keep_result(folder, cell, results[cell])
            bar.update(task, advance=1, description=f"matrix, last {cell.name}: {results[cell].state}")
    return [results[cell] for cell in cells]


def run_order(order: tuple[Cell, Result | None, bool]) -> Result:
    """On a worker: a cell, the client's kept result of it, and whether it is to be run again whatever is kept."""
    cell, kept, again = order
    _begin_worker()
    if kept is not None and last_result(FOLDER, cell) is None:
        keep_result(FOLDER, cell, kept)
    return run_cell(cell, release_toolchain(cell.release), again=again)


def _begin_worker() -> None:
    """A command that a shell runs in the background has SIGINT ignored, and so would its workers. A closed terminal's
    SIGHUP reaches them, too, and is as Ctrl-C.

    A worker has the patcher do some hundred jobs, each in a child: one that imports nothing anew takes half as long.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    isolation.forks_beside_threads = True  # the other threads are numpy's, which hold no lock while none computes
    for library in ("lief", "capstone", "keystone", "unicorn"):
        import_module(library)


def _run_in_worker(cell: Cell, toolchain: Toolchain, *, again: bool, folder: Path) -> Result:
    """``run_cell``, but an interrupted worker ends: the pool's would go on with the next cell."""
    try:
        return run_cell(cell, toolchain, again=again, folder=folder)
    except KeyboardInterrupt:
        os._exit(Interrupted.exit_code)


def run_cell(
    cell: Cell,
    toolchain: Toolchain,
    *,
    again: bool = False,
    folder: Path = FOLDER,
    variants: Sequence[Variant] | None = None,
) -> Result:
    """Build a cell's programs and take every arm through its steps, unless a kept result still holds.

    A result of chosen ``variants`` is not kept: the default, None, is all of them.
    """
    began = time.monotonic()
    try:
        mode = built_as(cell)
        built = {
            program: build_one(toolchain, mode, program, folder / "build") for program in ("sleepbench", "survive")
        }
    except NanonapError as error:
        return _result(cell, "", {}, began, (), f"cannot be built: {error}")
    hashes = {name: each.sha256 for name, each in built.items()}
    key = _key(hashes, mode.target.name)
    kept = None if again else kept_result(folder, cell, key)
    if kept is not None:
        return kept
    with tempfile.TemporaryDirectory(prefix=f"{cell.name}-", dir=folder) as work:
        programs = built["sleepbench"].path, built["survive"].path
        chosen = variants_for(mode.target) if variants is None else variants
        run = _run_here if mode.target.here else _run_elsewhere
        try:
            arms = run(chosen, *programs, Path(work), mode, toolchain, folder / "build")
        except Unsound as error:
            return _result(cell, key, hashes, began, (), f"the stock program does not run: {error}")
        except QuotaUnavailable as error:
            return _result(cell, key, hashes, began, (), f"the guest failed: {error}")
    result = _result(cell, key, hashes, began, arms)
    if variants is None:
        keep_result(folder, cell, result)
    return result


def _run_here(
    variants: Sequence[Variant], sleepbench: Path, survive: Path, work: Path, _mode: Mode, _go: Toolchain, _built: Path
) -> tuple[Arm, ...]:
    """Every arm, one after the other. Raises Unsound."""
    programs = Programs(sleepbench, survive, quit_asleep(Survivor(survive, None), STOCK))
    return tuple(ArmRun(each, programs, work).run() for each in variants)


def _run_elsewhere(
    variants: Sequence[Variant], sleepbench: Path, survive: Path, work: Path, mode: Mode, go: Toolchain, built: Path
) -> tuple[Arm, ...]:
    """In the guest for the mode's target. Raises QuotaUnavailable, and what building can raise."""
    refuse = build_one(go, MODES["default"].on(mode.target), "refuse", built).path
    backend = guest_for(mode.target)
    backend.prepare()
    return run_elsewhere(variants, sleepbench, survive, work, Guest(backend, refuse))


def _result(
    cell: Cell, key: str, hashes: dict[str, str], began: float, arms: tuple[Arm, ...], problem: str = ""
) -> Result:
    return Result(
        release=cell.release,
        mode=cell.mode,
        key=key,
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        sha256=hashes,
        arms=arms,
        problem=" ".join(problem.split()),
    )


@cache
def patcher_sha256(arch: str = "amd64") -> str:
    """SHA-256 (hex) of the sources that a program's file of that instruction set passes through, as they were when this
    process first asked.
    """
    digest = hashlib.sha256()
    patcher = PROJECT / "patcher"
    others = {each.name for each in (patcher / "isa").iterdir() if each.is_dir()} - {arch}
    for source in sorted(patcher.rglob("*.py")):
        parts = source.relative_to(patcher).parts
        if parts[0] in ASIDE or any(each.removesuffix(".py").partition("_")[0] in others for each in parts):
            continue
        digest.update(str(source.relative_to(PROJECT)).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _key(hashes: dict[str, str], arch: str) -> str:
    """What a kept result stands on: the programs, the patcher and the steps."""
    parts = [str(SCHEMA), patcher_sha256(arch), *(f"{name}={value}" for name, value in sorted(hashes.items()))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
