"""A toy: whether a command ends with the status that it was told to end with."""

from collections.abc import Sequence

import polars as pl

from nanonap.lab.experiments.kit.base import Experiment, Setting, Verdict
from nanonap.lab.show.tables import Section, Table

SCHEMA = pl.Schema({"asked": pl.Int64, "status": pl.Int64})


class Toy(Experiment):
    """Claim Y1."""

    name = "toy"
    question = "Does a command end with the status that it was told to end with?"
    expects = "it does: a status from 0 to 255 is handed on as it is"
    limits = False
    cheap = True

    def run(self, setting: Setting) -> pl.DataFrame:
        """A run a status."""
        asked = (0, 7) if setting.quick else (0, 7, 255)
        rows = [(each, setting.stop.run(["/bin/sh", "-c", f"exit {each}"], 60).status) for each in asked]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """From every run."""
        wrong = data.filter(pl.col("asked") != pl.col("status")).height
        sentence = f"{data.height - wrong} of {data.height} commands ended so"
        says = "a command ends with the status it is told"
        return [Verdict("Y1", says, "refuted" if wrong else "holds", sentence, {"wrong": wrong})]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """One row per run."""
        return [Table("Statuses", ("asked", "ended with"), [Section("", [[*map(str, row)] for row in data.rows()])])]
