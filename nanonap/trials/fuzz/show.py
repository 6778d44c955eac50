"""What a campaign came to: for a program, for a person, and as a section of docs/fuzz.md."""

import os
import re
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nanonap.base.files import write_text
from nanonap.base.terminal import command
from nanonap.toolchain.targets import AMD64
from nanonap.trials.errors import FuzzFound
from nanonap.trials.fuzz.campaign import FINDINGS, WORKERS, Campaign, bases
from nanonap.trials.fuzz.mutants import kinds
from nanonap.trials.fuzz.tally import Counts, Tally, keep_tally
from nanonap.trials.matrix.cells import variants_for
from nanonap.trials.matrix.run import patcher_sha256

_MARK = re.compile(r"\n<!-- fuzz (\w+): written by .*? -->\n.*?<!-- fuzz \1: end -->\n", re.DOTALL)
_HEAD = """# Damaged files

`invoke fuzz` damages programs and looks at what the patcher makes of each. It must end in one of the errors of the
[README](../README.md#exit-statuses), in one line, or in a patch that is right; within 5 s of CPU time, and 300 MiB and
four times the file's size of memory; and where it ends in an error, there is no output.

**The damage** is drawn from a seed, so a number stands for a file. A field of a header or a table gets a value at a
boundary, another field's, a little more or less, a flipped bit, or chance; in the code, of the functions that wait and
of the one at the entry, a field is an instruction where all have one length (arm64), else a byte. Files are cut, made
larger by holes, or have pieces moved. The programs are the measured one, by the newest release in four modes and by the
oldest.

**Readers.** Every mutant is read: by the headers' two readers and by the plan of the arm that comes round, or as
`inspect` does. A block of mutants is read in one process, a fork of one that has all modules loaded, has read the
undamaged programs, and remembers what it decoded and found in them: that is not done again where a mutant has the same
bytes. It has the limits of the patcher's own child. If it ends, the mutant that it was at is read again, alone.

**Patches.** One mutant in fifty, by chance, is inspected and patched as a user would do it, with the proof, in
processes of its own; nine of ten of these have the same memory, the tenth has none. A patch must be the input with the
manifest's edits and nothing else; `verify` must agree, and `revert` give the input.

What was judged is kept in `artifacts/fuzz`, and with this page in [`fuzz/`](fuzz): the next `invoke fuzz` goes on where
one ended, and counts both. After a change of the patcher, or of the trial, it begins anew.
"""
_SECTION = """
<!-- fuzz {arch}: written by `invoke fuzz{option} --markdown` -->
## linux/{arch}
{read:,} mutants read, {patched:,} of them patched too, seed {seed}; {findings} findings; {date}. The arms: {arms}. The
slowest took {slowest:.2f} s of CPU time, the largest {peak} MiB of memory. To make and read one took {each:.1f} ms of
CPU time; by that, {cores} cores with nothing else to do read {rate:.0f} a second. SHA-256 of `patcher/`
without `live`, `images` and other instruction sets: {patcher}….

| damage | read | refused by the readers | patched in full: right | refused |
|---|---|---|---|---|
{rows}
<!-- fuzz {arch}: end -->
"""


def _rate(count: int, seconds: float) -> float:
    """What all workers do in a second."""
    return round(WORKERS * count / seconds, 1) if seconds else 0.0


def document_of(campaign: Campaign, tally: Tally) -> dict[str, Any]:
    """The document for --json."""
    return {
        "arch": campaign.target.name,
        "seed": campaign.seed,
        "mutants": max(tally.read, tally.patched),
        "read": tally.read,
        "patched": tally.patched,
        "read_a_second": _rate(tally.read, tally.read_seconds),
        "read_a_second_of_cpu": _rate(tally.read, tally.read_cpu_s),
        "patched_a_second": _rate(tally.patched, tally.patched_seconds),
        "cores": os.cpu_count(),
        "readings": _sorted(tally.readings),
        "patches": _sorted(tally.patches),
        "slowest_cpu_s": round(tally.slowest_cpu_s, 2),
        "largest_peak_mib": tally.largest_peak >> 20,
        "findings": [asdict(each) for each in sorted(tally.findings, key=lambda each: each.number)],
    }


def _sorted(counts: Counts) -> Counts:
    return {kind: dict(Counter(each).most_common()) for kind, each in sorted(counts.items())}


def show_fuzz(campaign: Campaign, tally: Tally) -> None:
    """Outcomes by kind of damage, the extremes, the findings."""
    from rich.console import Console  # noqa: PLC0415 - rich is imported on first use: starting must be quick
    from rich.table import Table  # noqa: PLC0415 - for a person alone

    document = document_of(campaign, tally)
    table = Table("damage", "readers", "whole patcher")
    for kind in sorted({*tally.readings, *tally.patches}):
        told = (document[each].get(kind, {}) for each in ("readings", "patches"))
        table.add_row(kind, *(", ".join(f"{outcome} {count}" for outcome, count in each.items()) for each in told))
    console = Console()
    console.print(table)
    idle, patches = document["read_a_second_of_cpu"], document["patched_a_second"]
    console.print(
        f"{document['mutants']} mutants, seed {campaign.seed}: {tally.read} read, {document['read_a_second']} a second "
        f"({idle} where nothing else is at work); {tally.patched} through the whole patcher, {patches} a second; "
        f"slowest {document['slowest_cpu_s']} s of CPU, largest {document['largest_peak_mib']} MiB, "
        f"{len(tally.findings)} findings",
        highlight=False,
    )
    arch = [] if campaign.target == AMD64 else ["--arch", campaign.target.name]
    for each in tally.findings:
        images = ["--images"] if campaign.images else []
        again = command("fuzz", *images, *arch, "--seed", str(campaign.seed), "--only", str(each.number))
        console.print(f"{again}: {each.base}, {each.kind}: {each.finding}", highlight=False, markup=False)


def write_page(path: Path, campaign: Campaign, tally: Tally) -> None:
    """The page with the campaign's section, and beside it the tally that the next campaign goes on from.

    Raises OutputNotWritable, DiskFull.
    """
    keep_tally(path.with_suffix("") / f"{campaign.name}.json", campaign.key(), tally)
    write_text(path, page_with(path.read_text(encoding="utf-8") if path.is_file() else "", campaign, tally))


def page_with(old: str, campaign: Campaign, tally: Tally) -> str:
    """The page with this campaign's section in its place; ``old`` is the page as it was, "" for none."""
    sections = {match[1]: match[0] for match in _MARK.finditer(old)}
    arch = campaign.target.name
    sections[arch] = _SECTION.format(
        arch=arch,
        option="" if campaign.target == AMD64 else f" --arch {arch}",
        read=tally.read,
        patched=tally.patched,
        seed=campaign.seed,
        findings=len(tally.findings) or "no",
        date=datetime.now(UTC).date().isoformat(),
        arms=", ".join(f"`{each.name}`" for each in variants_for(campaign.target)),
        slowest=tally.slowest_cpu_s,
        peak=tally.largest_peak >> 20,
        each=1e3 * tally.read_cpu_s / tally.read if tally.read else 0,
        cores=WORKERS,
        rate=_rate(tally.read, tally.read_cpu_s),
        patcher=patcher_sha256(arch)[:16],
        rows="\n".join(_row(kind, tally) for kind in dict.fromkeys(_kinds(campaign))),
    )
    return _HEAD + "".join(sections[each] for each in sorted(sections))


def _kinds(campaign: Campaign) -> list[str]:
    return [kind for each in bases(campaign.target.name) for kind in kinds(each)]


def _row(kind: str, tally: Tally) -> str:
    read, patched = Counter(tally.readings.get(kind, {})), Counter(tally.patches.get(kind, {}))
    right = patched["patched"]
    numbers = read.total(), read.total() - read["read"], right, patched.total() - right
    return f"| {kind} | {' | '.join(f'{each:,}' for each in numbers)} |"


def check_found(tally: Tally) -> None:
    """Raises FuzzFound where there is a finding."""
    if tally.findings:
        raise FuzzFound(
            f"{len(tally.findings)} of {max(tally.read, tally.patched)} damaged files ended in something else than an "
            f"error of ours or a correct patch; they are kept in {FINDINGS}"
        )
