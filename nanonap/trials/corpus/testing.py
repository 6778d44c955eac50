"""A test binary's trial: all verdicts stock and patched, and what differs run again, alone."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.errors import Interrupted, NanonapError
from nanonap.toolchain.patched import Variant
from nanonap.trials.corpus.arms import WITHOUT_SLACK
from nanonap.trials.corpus.patching import check_undone, go_release, is_expected, patch_all, told
from nanonap.trials.corpus.row import Result, Row
from nanonap.trials.corpus.standard import Package, Standard
from nanonap.trials.corpus.verdicts import ABSENT, Difference, Suite, differing
from patcher.errors import NoRoom

AGAIN = 5
_ONE_BY_ONE = 12  # with more tests than this that differ, they run again together

#: What a trial gives: a row, or work that must wait until nothing else runs and then gives the row.
Settled = Row | Callable[[], Row]


@dataclass(frozen=True)
class PackageTrial:
    """The trial of one package's test binary; ``folder`` is for the patched ones, and kept until all is settled."""

    standard: Standard
    package: Package
    arms: tuple[Variant, ...]
    short: bool
    folder: Path

    def __call__(self) -> list[Settled]:
        """Build, run stock, then patch and run each arm."""
        began = time.monotonic()
        try:
            binary = self.standard.build(self.package)
            release = go_release(binary)
            stock = self.standard.run(self.package, binary, short=self.short)
        except Interrupted:
            raise
        except (NanonapError, OSError) as error:
            return [self._row("", Result.NOT_HERE, str(error), wall_s=time.monotonic() - began)]
        settled: list[Settled] = []
        arms = list(self.arms)
        for arm in arms:
            began = time.monotonic()
            try:
                (patched,) = patch_all([binary], arm, self.folder / self.package.file / arm.name)
            except Interrupted:
                raise
            except NanonapError as error:
                expected = is_expected(error, arm, frozenset())
                result = Result.REFUSED if expected else Result.UNEXPECTED
                settled.append(self._row(arm.name, result, told(error), wall_s=time.monotonic() - began, go=release))
                if isinstance(error, NoRoom) and arm.strategy == "netpoll" and WITHOUT_SLACK not in arms:
                    arms.append(WITHOUT_SLACK)
                continue
            settled.append(self._compare(arm.name, release, binary, patched, stock, began))
        return settled

    def _compare(self, arm: str, release: str, binary: Path, patched: Path, stock: Suite, began: float) -> Settled:
        """Run the patched binary; what differs is settled later."""
        try:
            suite = self.standard.run(self.package, patched, short=self.short)
            check_undone([binary], [patched])
        except Interrupted:
            raise
        except (NanonapError, OSError) as error:
            return self._row(arm, Result.CHANGED, str(error), go=release)
        return self.judge(arm, release, (binary, patched), (stock, suite), began)

    def judge(
        self, arm: str, release: str, programs: tuple[Path, Path], suites: tuple[Suite, Suite], began: float
    ) -> Settled:
        """The row of two runs, stock's first; where they differ, the work that settles it."""
        stock, suite = suites
        wall_s = time.monotonic() - began
        names = differing(stock.verdicts, suite.verdicts)
        evidence = {"stock": stock.tally(), arm: suite.tally(), "not passing in stock": " ".join(stock.not_passing())}
        if not stock.verdicts:
            return self._row(arm, Result.STOCK_FAILS, stock.tally(), evidence, wall_s, release)
        if not names and stock.ending == suite.ending:
            return self._row(arm, Result.SAME, self._same(stock), evidence, wall_s, release)

        def settle() -> Row:
            again = self._again(names, programs, suites)
            changed = [each for each in again if each.changed]
            # An ending that no test accounts for is a change of its own.
            other_end = stock.ending != suite.ending and (not names or suite.ending not in ("exit 0", "exit 1"))
            result = Result.CHANGED if changed or other_end else Result.UNSTABLE
            told_ending = [f"stock ended: {stock.ending}; patched: {suite.ending}"] * (stock.ending != suite.ending)
            detail = "; ".join([*told_ending, *map(str, (changed or again)[:6])])
            differences = {f"differs: {each.test}": str(each) for each in again}
            return self._row(arm, result, detail, evidence | differences, time.monotonic() - began, release)

        return settle

    def _again(
        self, names: Sequence[str], programs: tuple[Path, Path], suites: tuple[Suite, Suite]
    ) -> list[Difference]:
        """Run the tests of these names five times more in both arms, alternating, each by itself."""
        tops = sorted({name.split("/")[0] for name in names})
        groups = [[top] for top in tops] if len(tops) <= _ONE_BY_ONE else [tops]
        seen: dict[str, tuple[list[str], list[str]]] = {
            name: ([suites[0].verdicts.get(name, ABSENT)], [suites[1].verdicts.get(name, ABSENT)]) for name in names
        }
        for group in groups:
            pattern = f"^({'|'.join(map(re.escape, group))})$"
            for _ in range(AGAIN):
                for side, program in enumerate(programs):
                    alone = self.standard.run(self.package, program, short=self.short, only=pattern).verdicts
                    for name in names:
                        if name.split("/")[0] in group:
                            seen[name][side].append(alone.get(name, ABSENT))
        return [Difference(name, tuple(first), tuple(second)) for name, (first, second) in seen.items()]

    def _same(self, stock: Suite) -> str:
        failing = len(stock.not_passing())
        note = f", {failing} not passing in both" if failing else ""
        short = " -short" * self.short
        end = f", {stock.ending} in both" if stock.ending != "exit 0" else ""
        return f"{len(stock.verdicts)} test{'s' * (len(stock.verdicts) != 1)}{short}{note}{end}"

    def _row(
        self,
        arm: str,
        result: Result,
        detail: str,
        evidence: dict[str, str] | None = None,
        wall_s: float = 0.0,
        go: str = "",
    ) -> Row:
        release = self.standard.toolchain.version
        return Row("std", self.package.path, f"Go {release}", go, arm, result, detail, evidence or {}, wall_s)


def left_out_rows(release: str, reasons: dict[str, str]) -> list[Row]:
    """A row for each package that is left out, with the reason."""
    return [Row("std", path, f"Go {release}", "", "", Result.LEFT_OUT, why) for path, why in reasons.items()]
