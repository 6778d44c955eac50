"""The rows of ``article-patch`` on number 241: the kernel's table, and copies whose ``runtime.usleep`` makes that call.

No message queue can be harmed: the name is the timespec's first byte, 0 for all sleeps shorter than a second, which
mq_unlink refuses as empty (ENOENT), or the clock's number taken for an address (EFAULT).
"""

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nanonap.lab.experiments.article_patch import runs
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.kit.blocks import shuffled
from nanonap.lab.experiments.kit.copies import plain_arm
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.interrupt import Finished
from nanonap.lab.plan.conditions import QUIET, Condition, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Quota
from nanonap.lab.run.runner import parse
from patcher.golang.functions import Functions
from patcher.golang.image import read_image

STOCK, ONLY_NUMBER, AS_CLAIMED = "stock", "241", "241, arguments"
#: By arm what replaces the system call in usleep: 15 bytes, as many as there are.
_EDITS = {
    ONLY_NUMBER: "mov rdi, rsp\nmov esi, 0\nmov eax, 241\nsyscall",
    # clockid, flags, request; the time that remains is asked for nowhere, since it is another call anyway
    AS_CLAIMED: "push 1\npop rdi\nmov rdx, rsp\nxor esi, esi\nmov eax, 241\nsyscall",
}
QUIETLY, BUSY = "quiet", "burn:1"
CALLS = ("mq_unlink", "nanosleep", "clock_nanosleep")
#: Numbers that matter here: what is called now, what was meant, what was written, where an idle program waits.
ASKED = (35, 230, 241, 281, 441)
_HEADERS = ("x86_64-linux-gnu/asm/unistd_64.h", "asm/unistd_64.h")
_DEFINED = re.compile(r"^#define __NR_(\w+) (\d+)$", re.MULTILINE)
_ENTERED = re.compile(r"^\d+ +(\w+)\(", re.MULTILINE)
_ENDED = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?: resumed>|\().*\) += (0|-1 E\w+)\b", re.MULTILINE)
_TIMED_OUT = re.compile(r"128, [1-9]\d*, NULL, \d+\) += 0$", re.MULTILINE)  # epoll_pwait's last arguments and answer
_REQUESTED_NS, _WINDOW_NS, _SEED = 1_000_000, 150_000_000, 1


def table_rows() -> Iterator[runs.Row]:
    """The kernel's numbers, as its header for programs has them."""
    header = next((each for each in (Path("/usr/include", name) for name in _HEADERS) if each.is_file()), None)
    if header is None:
        yield {"part": runs.TABLE, "missing": "there is no asm/unistd_64.h here; apt-get install linux-libc-dev"}
        return
    names = {int(number): name for name, number in _DEFINED.findall(header.read_text(encoding="ascii"))}
    for number in ASKED:
        yield {"part": runs.TABLE, "subject": header.name, "number": number, "message": names.get(number, "none")}


def number_rows(setting: Setting, plan: runs.Plan, folder: Path) -> Iterator[runs.Row]:
    """Stock and the copies in shuffled blocks, quiet and beside a goroutine that computes: traced, and not.

    A quiet program's monitor thread sleeps in futex as long as nothing runs; beside a goroutine that runs it calls
    usleep all the time (runtime/proc.go, sysmon).
    """
    functions = Functions(read_image(setting.program))
    files = {STOCK: setting.program}
    for number, (arm, text) in enumerate(_EDITS.items()):
        files[arm] = runs.edited(functions, text, folder / f"edited{number}")
    tried = [(arm, BUSY, False) for arm in files]
    if missing := _missing(setting):
        yield {"part": runs.NUMBER, "missing": missing}
    else:
        tried += [(arm, load, True) for arm in files for load in (QUIETLY, BUSY)]
    for block, (arm, load, traced) in shuffled(setting, plan.blocks, tried, lambda each: f"{each[0]}, {each[1]}"):
        row = {"part": runs.NUMBER, "subject": arm, "load": load, "block": block, "traced": traced}
        yield {**row, **ran(setting, files[arm], load, plan.sleeps, folder / "traced" if traced else None)}


def _missing(setting: Setting) -> str | None:
    """Why strace cannot be had, and what to do; None where it traces a harmless command."""
    if shutil.which("strace") is None:
        return "there is no strace here; apt-get install strace"
    done = setting.stop.run(["strace", "-f", "-o", "/dev/null", "true"], runs.RUN_S)
    if done.status == 0:
        return None
    return f"strace may not trace ({' '.join(done.stderr.split())[:120]}); allow ptrace, as root or with CAP_SYS_PTRACE"


def ran(setting: Setting, program: Path, load: str, sleeps: int, trace: Path | None) -> runs.Row:
    """The columns of one run, however it ended, which an edited copy is free to do. Raises Interrupted."""
    arm = plain_arm(program.name, program)
    condition = Condition(Quota(), QUIET if load == QUIETLY else parse_load(load))
    run = Run(0, arm, condition, ((_REQUESTED_NS, sleeps),), _WINDOW_NS, _SEED)
    argv = [*arm.words, *run.options(2), "-warmup", "0"]
    if trace is not None:
        trace.unlink(missing_ok=True)
        which = ",".join((*CALLS, "epoll_pwait"))
        argv = ["strace", "-f", "-qq", "-e", f"trace={which}", "-e", "signal=none", "-o", str(trace), *argv]
    finished = runs.run_bounded(setting, argv)
    counted = {}
    if trace is not None and trace.exists():
        counted = counts(trace.read_text(encoding="utf-8", errors="replace"))
    return {"status": finished.status, **counted, **_measured(finished, run)}


def _measured(finished: Finished, run: Run) -> runs.Row:
    """What the program measured; where it did not end well a ``message``, and no more than is known."""
    if finished.timed_out or finished.status:
        return {"message": runs.how_it_ended(finished) or f"exit status {finished.status}"}
    try:
        output = parse(finished.stdout, run)
    except RunFailed as error:
        return {"message": str(error)}
    row = {"sleeps": output.header.n, "wall_ns": output.header.wall_ns, "cpu_ns": output.header.cpu_ns}
    if not output.header.n:
        return {**row, "message": f"no sleep ended within {_WINDOW_NS / 1e6:.0f} ms"}
    return {**row, "shortest_late_ns": int((output.samples[1] - output.samples[0]).min())}


def counts(text: str) -> runs.Row:
    """What ``strace -f -qq`` wrote: entered calls, epoll_pwait that timed out, and mq_unlink's answers.

    A call during which another thread made one has two lines, ``unfinished`` and ``resumed`` (strace(1)). One that the
    process's end cut short has no answer, or a number that is none.
    """
    entered = Counter(_ENTERED.findall(text))
    results = sorted({result for name, result in _ENDED.findall(text) if name == "mq_unlink"})
    return {
        **{name: entered[name] for name in CALLS},
        "epoll_waits": len(_TIMED_OUT.findall(text)),
        "results": ", ".join(results) or None,
    }
