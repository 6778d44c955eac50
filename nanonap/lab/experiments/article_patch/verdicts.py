"""What the rows of ``article-patch`` say to claim P3: a finding a step, and the verdict of them together."""

import math
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from nanonap.lab.experiments.article_patch import runs
from nanonap.lab.experiments.article_patch.number import AS_CLAIMED, BUSY, CALLS, ONLY_NUMBER, STOCK
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, json_of, ratio_by_block, ratio_of

#: The claimed number, and the call that was meant by it.
WRITTEN, MEANT = 241, "clock_nanosleep"
#: From so many calls for each of stock's on, a thread that should sleep between them spins.
SPINS = 2.0
#: Sleeps wait as before with about as many waits in epoll_pwait for each as stock's have.
AS_BEFORE = (0.8, 1.25)


@dataclass(frozen=True)
class Finding:
    """Of one step: whether it does what is claimed (None: not settled here), and what was seen."""

    does: bool | None
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)


def patched_as_described(data: pl.DataFrame) -> Verdict:
    """P3: holds if every step does what is claimed, refuted if one does not: the patch needs them all."""
    says = (
        "the patch is made in the function runtime.nanosleep, by the tool patchelf, with system call number 241 and "
        "the instruction CALL syscall"
    )
    steps = {
        "function": _function(data),
        "patchelf": _patchelf(data),
        "number": _number(data),
        "instruction": _instruction(data),
    }
    found = [each.does for each in steps.values()]
    outcome: Outcome = "refuted" if False in found else "holds"
    if outcome == "holds" and None in found:
        untried = any(each.does is None and not each.figures for each in steps.values())
        outcome = "cannot be tested here" if untried else "not settled"
    figures = {name: {"does": each.does, **each.figures} for name, each in steps.items()}
    return Verdict("P3", says, outcome, "; ".join(each.sentence for each in steps.values()), figures)


def _part(data: pl.DataFrame, *parts: str) -> pl.DataFrame:
    return data.filter(pl.col("part").is_in(parts), pl.col("missing").is_null())


def _lack(data: pl.DataFrame, *parts: str) -> str:
    """What was missing, and the remedy, as the rows say it."""
    told = data.filter(pl.col("part").is_in(parts), pl.col("missing").is_not_null())["missing"]
    return ", ".join(told.unique(maintain_order=True)) or "it was not tried"


def _function(data: pl.DataFrame) -> Finding:
    looked = _part(data, runs.FUNCTION, runs.SOURCE).filter(pl.col("tried") == runs.CLAIMED)
    if looked.is_empty():
        return Finding(None, f"{runs.CLAIMED}: {_lack(data, runs.FUNCTION, runs.SOURCE)}")
    found = looked.filter(pl.col("found"))
    releases = ", ".join(looked["go"].unique(maintain_order=True))
    figures = {"looked_at": looked.height, "found_in": found["subject"].to_list()}
    if found.height:
        where = ", ".join(found["subject"].unique(maintain_order=True))
        return Finding(True, f"there is {runs.CLAIMED} in {where} (Go {releases})", figures)
    programs = looked.filter(pl.col("part") == runs.FUNCTION).height
    source = " and their runtime's source for linux/amd64" if programs < looked.height else ""
    others = _part(data, runs.FUNCTION).filter(pl.col("tried") != runs.CLAIMED, pl.col("found"))
    told = others.select("tried", "message").unique(maintain_order=True).rows()
    calls = [f"{name} {f'calls {call}' if call else 'makes no system call'}" for name, call in told]
    instead = f" ({', '.join(calls)})" if calls else ""
    return Finding(False, f"no {runs.CLAIMED} in {programs} programs of Go {releases}{source}{instead}", figures)


def _patchelf(data: pl.DataFrame) -> Finding:
    """Not settled with an option that is not known: it might edit code. Nor by a tool that does nothing it is told."""
    tried = _part(data, runs.PATCHELF)
    if tried.is_empty():
        return Finding(None, f"patchelf: {_lack(data, runs.PATCHELF)}")
    options = _part(data, runs.OPTION)
    unknown = options.filter(pl.col("found").is_null())["tried"].to_list()
    done, changed = tried.filter(pl.col("status") == 0), tried.filter(pl.col("changed"))
    touched, broken = changed.filter(~pl.col("code_same")), changed.filter(~pl.col("runs"))
    figures = {
        "options": options.height,
        "options_unknown": unknown,
        "tries": tried.height,
        "tries_done": done.height,
        "files_changed": changed.height,
        "code_changed": touched.height,
        "no_longer_run": broken.height,
    }
    subjects = ", ".join(tried["subject"].unique(maintain_order=True))
    tool = options["subject"][0] if options.height else "patchelf"
    known = f"of the {options.height} options of {tool} none is known to edit code"
    if unknown:
        known += f" ({', '.join(unknown)}: not known here)"
    code = f"the code of {touched.height}" if touched.height else "none of them the code"
    refused = "" if done.height else " (it refused them all, so they say nothing)"
    seen = (
        f"of {tried.height} tries ({subjects} program){refused} {changed.height} changed the file, {code}, and "
        f"{broken.height} left it unable to start"
    )
    settled = options.height and done.height and not unknown
    return Finding(True if touched.height else False if settled else None, f"{known}; {seen}", figures)


def per_second(data: pl.DataFrame, traced: bool) -> pl.DataFrame:
    """The runs with number 241 and stock beside them that ended well, their calls and CPU time by measured second.

    The few calls at a process's start and end count too.
    """
    measured = _part(data, runs.NUMBER).filter(pl.col("traced") == traced, pl.col("message").is_null())
    return measured.with_columns(pl.col(*CALLS, "cpu_ns") / (pl.col("wall_ns") / 1e9))


def ratio_to_stock(measured: pl.DataFrame, arm: str, column: str, base: str) -> Ratio | None:
    """``column`` of an arm over ``base`` of stock, beside a computing goroutine, by block."""
    busy = measured.filter(pl.col("load") == BUSY)
    above = busy.filter(pl.col("subject") == arm).select("block", above=column)
    below = busy.filter(pl.col("subject") == STOCK).select("block", below=base)
    both = above.join(below, on="block").sort("block")
    return ratio_of(both["above"].to_list(), both["below"].to_list())


def _number(data: pl.DataFrame) -> Finding:
    names = dict(_part(data, runs.TABLE).select("number", "message").iter_rows())
    meant = next((number for number, name in names.items() if name == MEANT), None)
    table = (
        f"{WRITTEN} is {names[WRITTEN]}, {MEANT} is {meant}" if names else f"number table: {_lack(data, runs.TABLE)}"
    )
    edited = _part(data, runs.NUMBER).filter(pl.col("subject").is_in([ONLY_NUMBER, AS_CLAIMED]))
    raw = edited.filter(pl.col("traced"))
    if raw.is_empty():
        does = names[WRITTEN] == MEANT if names else None
        return Finding(does, f"{table}; {_lack(data, runs.NUMBER)}", {"table": names[WRITTEN] if names else None})
    made = {name: int(raw[name].sum()) for name in CALLS}
    does = True if made[MEANT] else False if made["mq_unlink"] else None
    results = sorted({each for text in raw["results"].drop_nulls() for each in text.split(", ")})
    calls, cpu = _spinning(data)
    figures = {"made": made, "results": results, "calls": json_of(calls), "cpu": json_of(cpu)}
    kinds = ", ".join(f"{count:,} {name}" for name, count in made.items() if count) or "none of the calls"
    answered = f", answered {' or '.join(results)}" if results else ""
    sentence = f"{table}; usleep with {WRITTEN} in {raw.height} runs made {kinds}{answered}{_consequence(calls, cpu)}"
    told = [sentence, _sleeping(data, raw, figures), *_failures(edited, figures)]
    return Finding(does, "; ".join(told), figures)


def _spinning(data: pl.DataFrame) -> tuple[Ratio | None, Ratio | None]:
    """mq_unlink over stock's nanosleep as strace saw them; CPU time over stock's, without strace."""
    calls = ratio_to_stock(per_second(data, True), ONLY_NUMBER, "mq_unlink", "nanosleep")
    return calls, ratio_to_stock(per_second(data, False), ONLY_NUMBER, "cpu_ns", "cpu_ns")


def _consequence(calls: Ratio | None, cpu: Ratio | None) -> str:
    if calls is None or calls.value <= 0:
        return ""
    spins = calls.within(SPINS, math.inf)
    if spins is None:
        return f", {calls} stock's nanosleep beside a goroutine that computes ({TOO_FEW})"
    took = "" if cpu is None else f" (CPU time of the process {cpu})"
    how = "so it spins" if spins else "so it does not spin"
    return f", {calls} stock's nanosleep beside a goroutine that computes, {how}{took}"


def _sleeping(data: pl.DataFrame, raw: pl.DataFrame, figures: dict[str, Any]) -> str:
    """What became of time.Sleep in the copies."""
    well = raw.filter(pl.col("message").is_null())
    sleeps, waits = int(well["sleeps"].sum()), int(well["epoll_waits"].sum())
    ratio = waits_per_sleep(data)
    figures |= {"sleeps": sleeps, "epoll_waits": waits, "waits_per_sleep": json_of(ratio)}
    if not sleeps:
        return "none of its time.Sleep ended"
    early = min(well["shortest_late_ns"].to_list())
    lasted = "each at least as long as asked" if early >= 0 else f"one {-early} ns too short"
    known = None if ratio is None else ratio.within(*AS_BEFORE)
    how = {True: "as before", False: "not as before", None: TOO_FEW}[known]
    often = "no stock run beside them" if ratio is None else f"for each sleep {ratio} as often as stock's"
    return f"its {sleeps:,} time.Sleep of 1 ms waited out {waits:,} epoll_pwait, {often}: {how}, {lasted}"


def waits_per_sleep(data: pl.DataFrame) -> Ratio | None:
    """Waits in epoll_pwait that timed out for each time.Sleep: of the edited copies over stock, by block."""
    measured = per_second(data, True).with_columns(
        waits=pl.col("epoll_waits") / pl.col("sleeps"), edited=pl.col("subject") != STOCK
    )
    return ratio_by_block(measured, "waits", {"edited": True}, {"edited": False})


def _failures(edited: pl.DataFrame, figures: dict[str, Any]) -> list[str]:
    """The runs of the copies that did not end well, traced or not."""
    failed = edited.filter(pl.col("message").is_not_null())
    figures["failed"] = failed.height
    if failed.is_empty():
        return []
    why = ", ".join(failed["message"].unique(maintain_order=True))
    return [f"{failed.height} of the {edited.height} runs of its copies did not end well ({why})"]


def _instruction(data: pl.DataFrame) -> Finding:
    """As an operand of CALL it must be a symbol that somebody defines.

    Not settled by a tool that builds nothing at all: it has to have built the plain instruction.
    """
    tried = _part(data, runs.INSTRUCTION)
    calls = tried.filter(pl.col("tried").str.to_lowercase().str.starts_with("call "), pl.col("runs").is_null())
    if calls.is_empty():
        return Finding(None, f"CALL syscall: {_lack(data, runs.INSTRUCTION)}")
    built = calls.filter(pl.col("found"))
    said = "; ".join(f"{row['subject']} says: {row['message']}" for row in _first_of_each(calls))
    figures: dict[str, Any] = {"tried": calls.height, "built": built.height}
    real = tried.filter(pl.col("runs").is_not_null()).select("tried", "runs", "message").to_dicts()
    figures["real_calls_run"] = {row["tried"]: row["runs"] for row in real}
    plain = tried.filter(pl.col("tried").str.to_uppercase() == runs.SYSCALL, pl.col("found"))["subject"].to_list()
    sentence = f"CALL syscall is built by {built.height} of {calls.height}{f' ({said})' if said else ''}"
    sentence += f", the instruction {runs.SYSCALL} by {' and '.join(plain)}" if plain else ""
    useless = [each for each in calls["subject"].unique(maintain_order=True) if each not in plain]
    sentence += f" (not settled by {' and '.join(useless)}: no {runs.SYSCALL} either)" if useless else ""
    ends = ", ".join(f"{row['tried']} {'runs' if row['runs'] else row['message']}" for row in real)
    does = True if built.height else None if useless else False
    return Finding(does, f"{sentence}{f'; in usleep {ends}' if ends else ''}", figures)


def _first_of_each(calls: pl.DataFrame) -> list[dict[str, Any]]:
    return calls.filter(~pl.col("found")).unique("subject", maintain_order=True, keep="first").to_dicts()
