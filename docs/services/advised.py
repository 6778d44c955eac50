"""Whether `advise`, which sees a stock service alone, foretells what its patched copies then cost.

From a checkout, as root, with the programs of docs/services.md:
    export PYTHONPATH=. AB="python docs/services/advised.py" OUT=docs/services RUNS=8
    sh docs/services/run.sh caddy      # measures, and keeps what was told and seen in $OUT/caddy/advised.json
    python docs/services/advised.py    # writes the table of docs/advise.md anew, from what is kept
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any

import msgspec

from nanonap.base.dice import seeded
from nanonap.base.files import write_text
from nanonap.base.paths import PROJECT
from nanonap.lab.ab.arms import Target, chosen_arms, file_arms
from nanonap.lab.ab.cost import read
from nanonap.lab.ab.service import drive, parse_ready, words
from nanonap.lab.experiments.kit.ratios import cell, median_ratio, ratio_of
from nanonap.lab.ground import host
from nanonap.lab.ground.hosts import Host, host_of
from nanonap.lab.ground.interrupt import Stop
from patcher.wait import PRECISE

HERE = Path(__file__).parent
PAGE = HERE.parent / "advise.md"
KEPT = "advised.json"
#: Arm: how an advice names it.
ARMS = {"stock": "as it is", "netpoll": "netpoll", "netpoll+slack1": "netpoll, slack 1 ns"}
ADVISE = "advise"
WATCHED, LEAST_S, READY_S, LIMIT_S = "5s", 4.0, 60.0, 120.0
WITHIN = 0.3
Figures = dict[str, dict[str, float]]


def watched(target: Target, program: Path, load: Sequence[str], stop: Stop) -> dict[str, Any]:
    """What advise tells of it, while its load runs over and over."""
    pid = next(each for each in target.pids() if Path(f"/proc/{each}/exe").resolve() == program.resolve())
    command = [sys.executable, "-m", "invoke", "advise", str(pid), "--for", WATCHED, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        try:
            while process.poll() is None:
                drive(load, target.ends, LIMIT_S, stop)
            out, _ = process.communicate()
        finally:
            process.kill()
    if process.returncode:
        sys.exit(f"advise ended with status {process.returncode}")
    told: dict[str, Any] = json.loads(out)
    if "ways" not in told:
        sys.exit(f"advise tells no figures: {told['reason']}")
    ways = {each["name"]: {"cpu": each["cpu"], "wakes_per_s": each["wakes_per_s"]} for each in told["ways"]}
    more = {name: told[name] for name in ("sentence", "timers_per_s", "waits_per_s", "check", "cost", "lost")}
    return {arm: ways[name] for arm, name in ARMS.items()} | {ADVISE: more}


def driven(target: Target, load: Sequence[str], stop: Stop) -> dict[str, float]:
    """CPU time in parts of a core, and what comes how often a second, while its load runs over and over."""
    loads, begin_ns, before = 0, time.monotonic_ns(), read(target.pids())
    while time.monotonic_ns() - begin_ns < LEAST_S * 1e9:
        drive(load, target.ends, LIMIT_S, stop)
        loads += 1
    cost, length_s = read(target.pids()).since(before), (time.monotonic_ns() - begin_ns) / 1e9
    per_s = {"wakeups_per_s": (cost.wakeups or 0) / length_s, "loads_per_s": loads / length_s}
    return {"cpu": (cost.cpu_ns or 0) / length_s / 1e9} | per_s


def measure(given: argparse.Namespace) -> None:
    """Shuffled blocks: stock watched, and every arm by itself."""
    load, ready, stop, dice = words("load", given.load), parse_ready(given.ready), Stop(), seeded(given.seed)
    variants = chosen_arms(",".join(ARMS), None, None, PRECISE)
    about = {"started_utc": datetime.now(UTC).isoformat(timespec="seconds"), "watched": WATCHED, "seed": given.seed}
    about |= {"host": msgspec.to_builtins(host_of(host.facts(), {}))}
    blocks = []
    with stop.listening(), file_arms(given.binary, given.run, variants, ready, READY_S, stop) as subject:
        about |= {"program": given.binary.name, "go": subject.go, "binaries": subject.hashes}
        for block in range(given.runs):
            told: Figures = {}
            seen: Figures = {}
            for arm in dice.sample([ADVISE, *ARMS], 1 + len(ARMS)):
                print(f"{given.binary.name}, block {block + 1} of {given.runs}: {arm}", file=sys.stderr)
                with subject.arm("stock" if arm == ADVISE else arm) as target:
                    drive(load, target.ends, LIMIT_S, stop)  # as it starts, a service does other things
                    if arm == ADVISE:
                        told = watched(target, subject.files["stock"], load, stop)
                    else:
                        seen[arm] = driven(target, load, stop)
            blocks.append({"told": told, "seen": seen, "load_average": os.getloadavg()[0]})
            given.out.mkdir(parents=True, exist_ok=True)
            write_text(given.out / KEPT, json.dumps({**about, "blocks": blocks}, indent=1) + "\n")
    print(table({given.out.name: {**about, "blocks": blocks}}))


def values(kept: dict[str, Any], kind: str, arm: str, figure: str = "cpu") -> list[float]:
    """A figure of every block; ``kind`` is told or seen."""
    return [block[kind][arm][figure] for block in kept["blocks"]]


def table(kept: dict[str, dict[str, Any]]) -> str:
    """An arm of a service a row: CPU time told and seen, the means' ratio and the median of the blocks' ratios; and
    what stock took over the arm, which is what "all stays as it is" would tell.
    """
    columns = ("service", "arm", "told", "seen", "told over seen", "median", "within 30 %", "stock over seen", "loads")
    rows = [columns, ("---",) * len(columns)]
    for name, each in kept.items():
        stock, stock_loads = (values(each, "seen", "stock", figure) for figure in ("cpu", "loads_per_s"))
        for arm in ARMS:
            told, seen = values(each, "told", arm), values(each, "seen", arm)
            loads = values(each, "seen", arm, "loads_per_s")
            ratio = ratio_of(told, seen)
            within = ratio.within(1 - WITHIN, 1 + WITHIN) if ratio else None
            first = [name if arm == "stock" else "", f"`{arm}`", f"{fmean(told):.2%}", f"{fmean(seen):.2%}"]
            verdict = {True: "yes", False: "**no**", None: "not settled"}[within]
            same = ["–", "–"] if arm == "stock" else [cell(ratio_of(stock, seen)), cell(ratio_of(loads, stock_loads))]
            rows.append((*first, cell(ratio), cell(median_ratio(told, seen)), verdict, *same))
    return "\n".join("| " + " | ".join(each) + " |" for each in rows)


def when(kept: dict[str, dict[str, Any]]) -> str:
    """Where and when, and how busy the machine was, at the end of each block."""
    hosts = " and on ".join(sorted({msgspec.convert(each["host"], Host).short for each in kept.values()}))
    begun = sorted(each["started_utc"] for each in kept.values())
    busy = sorted(block["load_average"] for each in kept.values() for block in each["blocks"])
    blocks = " or ".join(map(str, sorted({len(each["blocks"]) for each in kept.values()})))
    return (
        f"Measured on {hosts}, begun from {begun[0][:16]} to {begun[-1][:16]} UTC;\n{blocks} blocks a service. The "
        f"load average was {busy[0]:.1f} to {busy[-1]:.1f}, {median(busy):.1f} at the median."
    )


def page() -> None:
    """The table of docs/advise.md, written anew."""
    kept = {each.parent.name: json.loads(each.read_text("utf-8")) for each in sorted(HERE.glob(f"*/{KEPT}"))}
    text = f"<!-- services -->\n{when(kept)}\n\n{table(kept)}\n<!-- end -->"
    found, places = re.subn(r"<!-- services -->.*?<!-- end -->", lambda _: text, PAGE.read_text("utf-8"), flags=re.S)
    if places != 1:
        sys.exit(f"{PAGE}: no place for the table")
    write_text(PAGE, found)


def main() -> None:
    """As the head of this file says; of the options of ``ab`` those count that say what to run."""
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("binary", "out"):
        options.add_argument(f"--{name}", type=Path, required=True)
    for name in ("run", "load"):
        options.add_argument(f"--{name}", required=True)
    for name in ("runs", "seed"):
        options.add_argument(f"--{name}", type=int, required=True)
    options.add_argument("--ready")
    measure(options.parse_known_args()[0])


if __name__ == "__main__":
    main() if sys.argv[1:] else page()
