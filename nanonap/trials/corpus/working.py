"""A program's trial: obtained, inspected, patched, at work stock and patched, verified and reverted."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.errors import Interrupted, NanonapError
from nanonap.toolchain.patched import Variant
from nanonap.trials.corpus.arms import LIVE
from nanonap.trials.corpus.counting import Waits, tracing, waits_in
from nanonap.trials.corpus.living import Living
from nanonap.trials.corpus.obtain import Obtainer
from nanonap.trials.corpus.patching import check_undone, go_release, is_expected, own_filters, patch_all, told
from nanonap.trials.corpus.processes import Processes
from nanonap.trials.corpus.programs import Program
from nanonap.trials.corpus.row import Result, Row
from nanonap.trials.corpus.workplace import WorkFailed, Workplace
from nanonap.trials.errors import CorpusIncomplete
from patcher.strategies.table import STRATEGIES

_LIBRARIES = "usr/lib/x86_64-linux-gnu"  # where Debian keeps them on amd64
_COMMANDS = ("usr/bin", "usr/sbin", "bin", "sbin")


@dataclass(frozen=True)
class ProgramTrial:
    """The trial of one program; ``folder`` is for patched copies and the work."""

    program: Program
    arms: tuple[Variant, ...]
    obtainer: Obtainer
    processes: Processes
    folder: Path

    def __call__(self) -> list[Row]:
        """Get the program, let it work stock, then patch it and let it work in each arm."""
        began = time.monotonic()
        arms = [each for each in (*self.arms, *self.program.also) if each is not LIVE or self.program.live]
        if not arms:
            return []
        try:
            package = self.obtainer.get(self.program.source)
            folders = [package.folder, *(self.obtainer.get(each).folder for each in self.program.besides)]
        except Interrupted:
            raise
        except NanonapError as error:
            return [self._row(self.program.source, "", "", Result.NOT_HERE, str(error), began=began)]
        programs = tuple(_first_with(path, folders) for path in self.program.paths)
        origin = package.origin
        try:
            release = go_release(programs[0])
        except NanonapError as error:
            known = len(self.program.known) == 4
            result = Result.REFUSED if known else Result.UNEXPECTED
            return [self._row(origin, "", "", result, told(error), began=began)]
        if missing := self.program.filters - own_filters(programs[0], self.program.filters):
            detail = f"expected {', '.join(sorted(missing))} to be named, which sets a filter"
            return [self._row(origin, release, "", Result.CHANGED, detail, began=began)]
        try:
            stock = self._work("stock", programs, folders)
        except (WorkFailed, OSError) as error:
            return [self._row(origin, release, "", Result.STOCK_FAILS, str(error), began=began)]
        return [self._arm(arm, origin, release, programs, folders, stock) for arm in dict.fromkeys(arms)]

    def _arm(
        self,
        arm: Variant,
        origin: str,
        release: str,
        programs: tuple[Path, ...],
        folders: list[Path],
        stock: dict[str, str],
    ) -> Row:
        began = time.monotonic()
        living = Living() if arm is LIVE else None
        try:
            patched = programs if living else self._patched(arm, programs)
        except NanonapError as error:
            result = Result.REFUSED if is_expected(error, arm, self.program.known) else Result.UNEXPECTED
            return self._row(origin, release, arm.name, result, told(error), began=began)
        try:
            evidence = self._work(arm.name, patched, folders, living=living)
            counted = None if living else self._counted(arm, patched, folders)
            if not living:
                check_undone(programs, patched)
        except CorpusIncomplete as error:
            return self._row(origin, release, arm.name, Result.NOT_HERE, str(error), stock, began)
        except Interrupted:
            raise
        except (WorkFailed, OSError, NanonapError) as error:
            return self._row(origin, release, arm.name, Result.CHANGED, str(error), stock, began)
        other = [name for name in stock.keys() | evidence.keys() if stock.get(name) != evidence.get(name)]
        if other:
            detail = "; ".join(
                f"{name}: stock {stock.get(name)}, patched {evidence.get(name)}" for name in sorted(other)
            )
            return self._row(origin, release, arm.name, Result.CHANGED, detail, evidence, began)
        if counted is None:
            said = self.program.does + (f"; {living.told()}" if living else "")
            return self._row(origin, release, arm.name, Result.SAME, said, evidence, began)
        result = Result.CHANGED if counted.milliseconds else Result.SAME
        said = f"{self.program.does}; waits in whole milliseconds: {counted.milliseconds}, others: {counted.precise}"
        return self._row(origin, release, arm.name, result, said, evidence, began)

    def _counted(self, arm: Variant, patched: tuple[Path, ...], folders: list[Path]) -> Waits | None:
        """The waits of the same work, done once more under strace; None where they are not asked for."""
        if not self.program.counted or not STRATEGIES[arm.strategy].waits:
            return None
        log = self.folder / self.program.name / f"waits-{arm.name}"
        self._work(f"{arm.name}-counted", patched, folders, tracing(log))
        return waits_in(log)

    def _patched(self, arm: Variant, programs: tuple[Path, ...]) -> tuple[Path, ...]:
        """All of the program's executables, those that lie in several folders too."""
        place = self.folder / self.program.name / arm.name
        done: list[Path] = []
        for number, program in enumerate(programs):
            done += patch_all([program], arm, place / str(number))
        return tuple(done)

    def _work(
        self,
        arm: str,
        programs: tuple[Path, ...],
        folders: list[Path],
        before: tuple[str, ...] = (),
        living: Living | None = None,
    ) -> dict[str, str]:
        folder = self.folder / self.program.name / f"work-{arm}"
        folder.mkdir(parents=True)
        sources = (self.program.source, *self.program.besides)
        goroots = [each for each, source in zip(folders, sources, strict=True) if source.startswith("go:")]
        settings = {"STOCK_GOROOT": str(goroots[0])} if goroots else {}
        if any(each.startswith("debian:") for each in self.program.besides):
            settings["LD_LIBRARY_PATH"] = os.pathsep.join(str(each / _LIBRARIES) for each in folders)
            commands = [str(each.absolute() / place) for each in folders for place in _COMMANDS]
            settings["PATH"] = os.pathsep.join([*commands, os.environ.get("PATH", os.defpath)])
        absolute = tuple(each.absolute() for each in programs)
        changing = living.under_work if living else None
        return self.program.work(Workplace(folder, absolute, self.processes, settings, before, changing))

    def _row(
        self,
        origin: str,
        go: str,
        arm: str,
        result: Result,
        detail: str,
        evidence: dict[str, str] | None = None,
        began: float = 0.0,
    ) -> Row:
        wall_s = time.monotonic() - began
        return Row("program", self.program.name, origin, go, arm, result, detail, evidence or {}, wall_s)


def _first_with(path: str, folders: list[Path]) -> Path:
    """The file in the first folder that has it; in the very first if none has."""
    return next((folder / path for folder in folders if (folder / path).exists()), folders[0] / path)
