"""The tables of ``article-patch``: a step each."""

from collections.abc import Collection, Sequence
from typing import Any

import polars as pl

from nanonap.lab.experiments.article_patch import runs
from nanonap.lab.experiments.article_patch.number import BUSY, CALLS, STOCK
from nanonap.lab.experiments.article_patch.patchelf import EDITS
from nanonap.lab.experiments.article_patch.verdicts import per_second
from nanonap.lab.show.tables import NONE, Section, Table


def tables(data: pl.DataFrame) -> Sequence[Table]:
    """Functions, patchelf, number, instruction: those of which there are rows."""
    made = (_functions(data), _patchelf(data), _numbers(data), _runs(data), _instructions(data))
    return [each for each in made if each.sections or each.notes]


def _table(title: str, columns: Sequence[str], rows: list[list[str]], data: pl.DataFrame, *notes: str) -> Table:
    """What is missing stands below, once."""
    lacks = data.filter(pl.col("missing").is_not_null())["missing"].unique(maintain_order=True)
    return Table(title, columns, [Section("", rows)] if rows else [], [*(notes if rows else ()), *lacks])


def _functions(data: pl.DataFrame) -> Table:
    part = data.filter(pl.col("part").is_in([runs.FUNCTION, runs.SOURCE]))
    rows = [
        [
            row["tried"],
            f"{row['subject']}{' (source)' if row['part'] == runs.SOURCE else ''}, Go {row['go']}",
            "yes" if row["found"] else "no",
            f"{row['message']} ({row['number']})" if row["number"] is not None else NONE,
        ]
        for row in part.filter(pl.col("missing").is_null()).to_dicts()
    ]
    note = (
        "system call: the one that the function makes itself; netpoll's is made by EpollWait, which it calls. "
        "time.Sleep is only in programs that call it"
    )
    return _table("Which functions there are", ("function", "in", "there", "system call"), rows, part, note)


def _patchelf(data: pl.DataFrame) -> Table:
    part = data.filter(pl.col("part").is_in([runs.PATCHELF, runs.OPTION]))
    tried = part.filter(pl.col("part") == runs.PATCHELF, pl.col("missing").is_null())
    subjects = tried["subject"].unique(maintain_order=True).to_list()
    by_option: dict[str, dict[str, str]] = {}
    for row in tried.to_dicts():
        by_option.setdefault(row["tried"].partition(" ")[0], {})[row["subject"]] = _happened(row)
    rows = [
        [option, EDITS.get(option) or NONE, *(cells.get(each, NONE) for each in subjects)]
        for option, cells in by_option.items()
    ]
    said = tried.filter(pl.col("message") != "", (pl.col("status") != 0) | pl.col("changed"))
    messages = said.select("subject", "message").unique(maintain_order=True).rows()
    notes = [
        "edits: what the option is for. The others: the program by its linking, and what became of a copy: unchanged,",
        "or changed with the same machine code, another or none where it was, and whether it still runs (fails: it",
        "does not start)",
        *(f"{subject}: {text}" for subject, text in messages),
        *_not_tried(part, by_option),
    ]
    return _table("What patchelf does to the program", ("option", "edits", *subjects), rows, part, *notes)


def _not_tried(part: pl.DataFrame, tried: Collection[str]) -> list[str]:
    """Options that patchelf lists and that stand in no row."""
    others = part.filter(pl.col("part") == runs.OPTION, ~pl.col("tried").is_in(list(tried)))
    steer = others.filter(pl.col("message") == "")["tried"].to_list()
    unknown = others.filter(pl.col("message").is_null())["tried"].to_list()
    return [
        *([f"not tried, since they edit nothing and at most steer the others: {', '.join(steer)}"] if steer else []),
        *([f"not tried, since what they do is not known here: {', '.join(unknown)}"] if unknown else []),
    ]


def _happened(row: dict[str, Any]) -> str:
    if row["status"] != 0:
        return "refused"
    if not row["changed"]:
        return "unchanged"
    code = {True: "same", False: "OTHER", None: "no"}[row["code_same"]]
    return f"{code} code, {'runs' if row['runs'] else 'fails'}"


def _numbers(data: pl.DataFrame) -> Table:
    part = data.filter(pl.col("part") == runs.TABLE)
    rows = [[str(row["number"]), row["message"]] for row in part.filter(pl.col("missing").is_null()).to_dicts()]
    return _table("System calls by number (x86-64)", ("number", "system call"), rows, part)


def _runs(data: pl.DataFrame) -> Table:
    part = data.filter(pl.col("part") == runs.NUMBER)
    traced = per_second(data, True).group_by("subject", "load").agg(
        pl.col(*CALLS).mean(),
        pl.col("results").drop_nulls().unique().sort().str.join(", "),
        waits=pl.col("epoll_waits").sum() / pl.col("sleeps").sum(),
    )  # fmt: skip
    cpu = per_second(data, False).group_by("subject", "load").agg(pl.col("cpu_ns").mean())
    measured = part.filter(pl.col("missing").is_null())
    both = measured.select("subject", "load").unique()
    for found in (traced, cpu):
        both = both.join(found, on=["subject", "load"], how="left")
    both = both.sort(pl.col("load") == BUSY, pl.col("subject") != STOCK, "subject")
    rows = [
        [
            row["subject"],
            "busy" if row["load"] == BUSY else row["load"],
            *(NONE if row[name] is None else f"{row[name]:,.0f}" for name in CALLS),
            row["results"] or NONE,
            NONE if row["waits"] is None else f"{row['waits']:.2f}",
            NONE if row["cpu_ns"] is None else f"{row['cpu_ns'] / 1e9:.0%}",
        ]
        for row in both.to_dicts()
    ]
    columns = ("runtime.usleep", "load", "mq_unlink/s", "nanosleep/s", "clock_nanosleep/s", "answer", "epoll", "CPU")
    notes = (
        "241: in place of number 35; arguments: with those of clock_nanosleep, which was meant by it",
        "busy: beside a goroutine that computes. /s: calls per second as strace saw them, which slows them",
        "answer: of mq_unlink. epoll: epoll_pwait that timed out, for each time.Sleep of 1 ms",
        "CPU: of runs without strace; 100 % is one processor",
        *(f"left out, {subject}, {load}: {why}" for subject, load, why in _failed(measured)),
    )
    return _table("What runtime.usleep calls, stock and with number 241", columns, rows, part, *notes)


def _failed(measured: pl.DataFrame) -> list[tuple[str, str, str]]:
    """What run did not end well, and why."""
    failed = measured.filter(pl.col("message").is_not_null())
    return failed.select("subject", "load", "message").unique(maintain_order=True).rows()


def _instructions(data: pl.DataFrame) -> Table:
    part = data.filter(pl.col("part") == runs.INSTRUCTION)
    rows = [[row["tried"], row["subject"], _built(row)] for row in part.filter(pl.col("missing").is_null()).to_dicts()]
    note = "In a copy, usleep calls a function that exists, with nanosleep's number and arguments"
    return _table("What CALL syscall is", ("instruction", "given to", "what happened"), rows, part, note)


def _built(row: dict[str, Any]) -> str:
    if row["runs"] is not None:
        return "runs" if row["runs"] else row["message"]
    return f"built{': ' if row['message'] else ''}{row['message']}" if row["found"] else row["message"]
