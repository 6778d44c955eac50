"""The matrix of another processor as a section of docs/matrix.md, which the page of this one's keeps."""

from nanonap.toolchain.targets import Target
from nanonap.trials.matrix.page import as_markdown, as_table, aside, dates, why_not
from nanonap.trials.matrix.result import Result
from nanonap.trials.matrix.run import patcher_sha256
from nanonap.trials.matrix.show import counted, target_of
from nanonap.trials.sections import Sections

_SECTION = """## linux/{arch}
`invoke matrix --arch {arch}`: {cells} cells, {counts}; {dates}. SHA-256 of `patcher/` without {aside} and other
instruction sets: {patcher}…. The programs are built and patched on linux/amd64, and run in the [emulated
machine](quota.md#the-guest-for-linux{arch}), whose clock counts instructions. **No real {arch} processor has run
them.** The steps are those above, and besides:

| step | what must hold |
|---|---|
| precise | for 50 µs … 1 ms `netpoll` ends at most 10 µs after the bare system call; stock takes 6 × at 100 µs |
| refuse | each new system call is refused by a filter, with ENOSYS and with EPERM: no sleep is early, the slack stays |
| preempt | sleepers beside a goroutine that computes on the only CPU and never yields |
| strain | `survive` under signals at 1 kHz, growing stacks, child processes, and I/O |

{table}
{reasons}"""


def page_with(old: str, results: list[Result]) -> str:
    """The page with these results in their place; ``old`` is the page as it was, "" for none."""
    target, sections = target_of(results), Sections("matrix", old)
    if target.here:
        return sections.below(as_markdown(results))
    return sections.with_one(target.name, as_section(results, target))


def as_section(results: list[Result], target: Target) -> str:
    """The section."""
    return _SECTION.format(
        arch=target.name,
        cells=len(results),
        counts=", ".join(f"{count} {state}" for state, count in counted(results).items()),
        dates=dates(results),
        aside=aside(),
        patcher=patcher_sha256(target.name)[:16],
        table=as_table(results),
        reasons=why_not(results),
    )
