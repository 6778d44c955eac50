"""What the patch that an article describes does to real programs: its function, its tool, its number, its instruction.

Each step is taken on throw-away copies of the measured program, which are run with limits of time and without core
files, and removed afterwards. Edited copies run because the user asked for this experiment, and for nothing else.
"""

from collections.abc import Sequence

import polars as pl

from bench.experiments.article_patch_functions import function_rows
from bench.experiments.article_patch_number import number_rows, table_rows
from bench.experiments.article_patch_patchelf import patchelf_rows
from bench.experiments.article_patch_runs import FULL, QUICK, SCHEMA, instruction_rows
from bench.experiments.article_patch_tables import tables
from bench.experiments.article_patch_verdicts import patched_as_described
from bench.experiments.base import Experiment, Setting, Verdict
from bench.quota.watchdog import guarded_folder
from bench.tables import Table


class ArticlePatch(Experiment):
    """Claim P3. Quick enough for ``cheap``, and not so: what runs edited programs is not run on the way."""

    name = "article-patch"
    limits = False
    question = "Can time.Sleep be patched at runtime.nanosleep, by patchelf, with number 241 and CALL syscall?"
    expects = (
        "no: the Linux runtime has no function of that name, and time.Sleep enters no nanosleep; patchelf edits what "
        "the dynamic linker reads, never code; 241 is mq_unlink on x86-64, which fails at once, so that the runtime's "
        "monitor thread spins where it should sleep; and SYSCALL is an instruction, syscall no function to call"
    )

    def run(self, setting: Setting) -> pl.DataFrame:
        """Look-ups, then every step of the patch on a copy; ``--quick`` has fewer runs, and one dynamic program."""
        setting.must_be_here("the copies run on this machine")
        plan = QUICK if setting.quick else FULL
        # Copies must be able to run: a system's own folder for temporary files may be mounted without that.
        with guarded_folder(setting.folder) as folder:
            rows = [
                *function_rows(setting),
                *patchelf_rows(setting, plan, folder),
                *table_rows(),
                *number_rows(setting, plan, folder),
                *instruction_rows(setting, folder),
            ]
        return pl.DataFrame(rows, schema=SCHEMA)

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """Refuted if one step does not do what it is described to do: the patch needs them all."""
        return [patched_as_described(data)]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """A table a step: what was tried, on what, what happened."""
        return tables(data)
