"""The matrix as a page of the documentation: docs/matrix.md."""

import platform
from datetime import UTC, datetime

from trials.matrix.result import Arm, Result, State
from trials.matrix.show import COLUMNS, counted, reasons

_PAGE = """# The matrix

Every Go release in every build mode with every strategy, as `invoke matrix --markdown docs/matrix.md` wrote it on
{date} on Linux {kernel}, {machine}: {cells} cells, {counts}.

A cell is a release and a build mode. In it both Go programs (`sleepbench` and the stress program `survive`) are
built, and then taken through these steps with each strategy:

| step | what must hold |
|---|---|
| inspect | the strategy applies |
| patch | the proof holds, for both programs |
| verify | the file is its manifest's, and the proof holds again |
| sleep | no sleep of `sleepbench` is early; the timer slack is what was asked for |
| collect | 100 sleepers keep what they hold while the collector never pauses and writes over what it frees |
| profile | SIGPROF until a sample meets the new code; every such sample's callers are unwound to their beginning |
| quit | SIGQUIT while 50 goroutines sleep: the traceback shows each, and its duration, as the stock program's does |
| crash | the same with `GOTRACEBACK=crash`: every thread in the new code tells its whole stack |
| revert | the SHA-256 is the original's |

Whether a sample meets the new code is chance, so profiles are taken, ever longer, until one does. `stock+slack1` is
the strategy `slack` alone; its stub runs once, before there is a runtime that could be interrupted: no profile.

{table}
{reasons}
| mode | what it is |
|---|---|
{modes}

All modes but `untrimmed` have `-trimpath`, so that the same source gives the same file wherever it lies. Go 1.19.8 is
Debian 12's `golang-1.19-go`, the others are the pinned wheels. CI runs every release in the default mode, and every
mode but `big` in the oldest and the newest release.

## Libraries and plugins
{libraries}
"""

_MODES = {
    "default": "`go build`",
    "stripped": "`-ldflags=-s -w`: no symbols; functions are found by the runtime's own table",
    "pie": "`-buildmode=pie`",
    "pie-stripped": "both of them",
    "external": "`-linkmode=external` with cgo: the C compiler's linker lays out the file",
    "cgo": "`CGO_ENABLED=1`, linked against libc by Go's own linker",
    "race": "`-race`",
    "noopt": "`-gcflags=all=-N -l`",
    "untrimmed": "without `-trimpath`: the source's folder is in the file, so another folder gives another file",
    "big": "with 65 MiB of further functions; in the oldest and the newest release alone, since it takes long",
}

_LIBRARIES = ""


def as_markdown(results: list[Result]) -> str:
    """The page."""
    rows = [
        f"| {' | '.join(('Go', 'mode', *(f'`{name}`' for name in COLUMNS)))} |",
        f"|{'---|' * (len(COLUMNS) + 2)}",
    ]
    for result in results:
        arms = {arm.name: arm for arm in result.arms}
        words = (_word(arms.get(name)) for name in COLUMNS)
        rows.append(f"| {result.release} | `{result.mode}` | {' | '.join(words)} |")
    found = reasons(results)
    return _PAGE.format(
        date=datetime.now(UTC).date(),
        kernel=platform.release(),
        machine=platform.machine(),
        cells=len(results),
        counts=", ".join(f"{count} {state}" for state, count in counted(results).items()),
        table="\n".join(rows),
        reasons="\nWhy not:\n" + "".join(f"- {each}\n" for each in found) if found else "",
        modes="\n".join(f"| `{name}` | {text} |" for name, text in _MODES.items()),
        libraries=_LIBRARIES,
    )


def _word(arm: Arm | None) -> str:
    state = arm.state if arm else State.FAILED
    return state if state is State.OK else f"**{state}**"
