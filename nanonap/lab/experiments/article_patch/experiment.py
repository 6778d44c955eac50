"""What the patch that an article describes does to real programs: its function, its tool, its number, its instruction.

Each step is taken on throw-away copies of the measured program, which are run with limits of time and without core
files, and removed afterwards. Edited copies run because the user asked for this experiment, and for nothing else.
"""

from collections.abc import Iterator

from nanonap.lab.experiments.article_patch.functions import function_rows
from nanonap.lab.experiments.article_patch.number import number_rows, table_rows
from nanonap.lab.experiments.article_patch.patchelf import patchelf_rows
from nanonap.lab.experiments.article_patch.runs import FULL, QUICK, SCHEMA, instruction_rows
from nanonap.lab.experiments.article_patch.tables import tables
from nanonap.lab.experiments.article_patch.verdicts import patched_as_described
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.ground.watchdog import guarded_folder


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
    verdicts = (patched_as_described,)

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Look-ups, then every step of the patch on a copy; ``--quick`` has fewer runs, and one dynamic program."""
        setting.must_be_here("the copies run on this machine")
        plan = QUICK if setting.quick else FULL
        # Copies must be able to run: a system's own folder for temporary files may be mounted without that.
        with guarded_folder(setting.folder) as folder:
            yield from function_rows(setting)
            yield from patchelf_rows(setting, plan, folder)
            yield from table_rows()
            yield from number_rows(setting, plan, folder)
            yield from instruction_rows(setting, folder)

    tables = staticmethod(tables)
