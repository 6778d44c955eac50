"""The matrix as a page of the documentation: docs/matrix.md."""

import platform

from nanonap import __version__
from nanonap.toolchain.modes import MODES
from nanonap.trials.matrix.result import Arm, Result, State
from nanonap.trials.matrix.run import ASIDE, patcher_sha256
from nanonap.trials.matrix.show import columns, counted, reasons, target_of

_PAGE = """# The matrix

Every Go release in every build mode with every strategy, as `invoke matrix --markdown docs/matrix.md` wrote it:
{cells} cells, {counts}; {dates}, version {version}, Linux {kernel}, {machine}. SHA-256 of `patcher/` without {aside}
and other instruction sets: {patcher}….

A cell is a release and a build mode. In it both Go programs (`sleepbench` and the stress program `survive`) are
built, and then taken through these steps with each strategy:

| step | what must hold |
|---|---|
| inspect | the strategy applies |
| patch | the proof holds, for both programs |
| verify | the file is its manifest's, and the proof holds again |
| sleep | no sleep of `sleepbench` is early; the timer slack is what was asked for |
| count | `netpoll`, in strace: every wait with a timeout is epoll_pwait2 (441), none is epoll_pwait (281) |
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
mode but the two large ones in the oldest and the newest release that has it.

## Libraries, plugins, FIPS 140-3
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
    "pgo": (
        "`-pgo=`, with a profile of the stress program's waiting, patched: the wait is inlined into its caller; "
        "the room in it differs with the profile, and has been too small for `+spin`"
    ),
    "pgo-stripped": "the same without symbols",
    "big": "with 65 MiB of further functions; in the oldest and the newest release alone, since it takes long",
    "big-stripped": "the same without symbols",
}

_LIBRARIES = """\
`go build -buildmode=c-shared` makes a library with a runtime of its own, which waits in its own netpoll. It is patched
as a program is, by `netpoll`, `sleep` and `usleep`, and a C program that loads it sleeps as asked. It has no entry, so
`slack` is refused: set the slack in the program that loads it. A library by Go 1.19 is refused `netpoll`
(`ShapeMismatch`): its code finds g in another way than a program's.

A plugin (`-buildmode=plugin`) is linked with a copy of the runtime, too, but what schedules and waits is the runtime
of the program that loads it: in a traceback of a sleeping plugin `time.Sleep` lies in the plugin, `runtime.schedule`
and `runtime.netpoll` in the program. So patch the program, and its plugins' sleeps are precise; `netpoll` and `slack`
are refused on the plugin itself.

Go's FIPS 140-3 module (Go 1.24 and later, `GODEBUG=fips140=on`) hashes its own code and data at the start. No strategy
touches them: the self-check passes in patched programs, with the module as it is in the release, with
`GOFIPS140=latest` and `GOFIPS140=v1.0.0`, and in a PIE. CI runs that."""


def as_markdown(results: list[Result]) -> str:
    """The page."""
    return _PAGE.format(
        dates=dates(results),
        version=__version__,
        patcher=patcher_sha256()[:16],
        aside=aside(),
        kernel=platform.release(),
        machine=platform.machine(),
        cells=len(results),
        counts=", ".join(f"{count} {state}" for state, count in counted(results).items()),
        table=as_table(results),
        reasons=why_not(results),
        modes="\n".join(f"| `{name}` | {_MODES[name]} |" for name, mode in MODES.items() if not mode.rival),
        libraries=_LIBRARIES,
    )


def aside() -> str:
    """What the SHA-256 leaves out."""
    return " and ".join(f"`{each}`" for each in ASIDE)


def as_table(results: list[Result]) -> str:
    """A row for each cell, a column for each arm."""
    names, prefix = columns(results), target_of(results).prefix
    rows = [
        f"| {' | '.join(('Go', 'mode', *(f'`{name}`' for name in names)))} |",
        f"|{'---|' * (len(names) + 2)}",
    ]
    for result in results:
        arms = {arm.name: arm for arm in result.arms}
        words = (_word(arms.get(name)) for name in names)
        rows.append(f"| {result.release} | `{result.mode.removeprefix(prefix)}` | {' | '.join(words)} |")
    return "\n".join(rows)


def why_not(results: list[Result]) -> str:
    """The reasons for what is not ok, a line each, below a line of their own; nothing where there are none."""
    found = reasons(results)
    return "\nWhy not:\n" + "".join(f"- {each}\n" for each in found) if found else ""


def dates(results: list[Result]) -> str:
    """The day of the cells, or the first and the last."""
    days = sorted({each.utc.partition("T")[0] for each in results})
    return " … ".join(dict.fromkeys((days[0], days[-1])))


def _word(arm: Arm | None) -> str:
    state = arm.state if arm else State.FAILED
    return state if state is State.OK else f"**{state}**"
