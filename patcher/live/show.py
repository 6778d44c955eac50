"""What inject, eject and status tell a person."""

from collections.abc import Sequence

from nanonap.base.durations import format_ns
from nanonap.base.terminal import command, say
from patcher.live.injecting import Changed, Status

_FIELDS = (("quantum_ns", "quantum"), ("dense_ns", "dense"), ("spin_ns", "spin"))


def show_changed(done: Changed) -> None:
    """One process in a few lines: what was changed, how long it stood still, what it newly calls, how to undo it."""
    size = sum(each for _, _, each in done.places)
    what = "would be " * done.dry_run + {"injected": "injected", "stock": "ejected"}[done.after]
    name = f" (netpoll{_options(done.options)})" if done.after == "injected" else ""
    say(f"process {done.pid} ({done.program}): {what}{name}, {done.go}")
    say(f"  was           {done.before}")
    count = "1 place" if len(done.places) == 1 else f"{len(done.places)} places"
    said = "would change " if done.dry_run else "changed      "
    say(f"  {said} {count}, {size} bytes, in memory; no file is touched")
    for where, address, _ in done.places:
        say(f"                {address:#x} {where}")
    if done.pause_ns:
        moved = f"{done.moved} of {done.threads} threads stood in the wait and were moved"
        say(f"  stood still   {format_ns(done.pause_ns)}: {moved}{_tries(done.tries)}")
    if done.new_syscalls:
        say(f"  newly calls   {', '.join(done.new_syscalls)}")
    if done.slack_ns is not None and not done.dry_run:
        say(f"  timer slack   {done.slack_ns} ns for {done.threads - done.slack_failed} of {done.threads} threads")
    if done.slack_failed:
        say("  warning       the timer slack of others takes CAP_SYS_NICE: run as root, or set no slack")
    say(f"  proof         {done.proven} cases hold")
    if done.after == "injected" and not done.dry_run:
        say(f"  undo          {command('eject', str(done.pid))}")
        say("  note          a restart runs the file again, as it is; forked children keep the code, exec drops it")


def show_line(done: Changed) -> None:
    """The same in one line, where there are several."""
    what = {"injected": "injected", "stock": "ejected"}[done.after]
    say(f"{done.pid:>8}  {what}, stood still {format_ns(done.pause_ns)}  {done.program}")


def show_status(found: Sequence[Status]) -> None:
    """A line a process."""
    if not found:
        say("no process here runs a Go program, as far as this user can see")
    for each in found:
        slack = "" if each.slack_ns is None else f", slack {each.slack_ns} ns"
        reason = f" ({each.reason})" if each.reason else ""
        state = f"{each.state}{_options(each.options)}{slack}{reason}"
        say(f"{each.pid:>8}  {each.go or '?':<10}  {state}  {each.program}")


def _options(options: dict[str, int | None]) -> str:
    return "".join(f", {name} {options[field]}" for field, name in _FIELDS if options.get(field) is not None)


def _tries(tries: int) -> str:
    return f"; at try {tries}" if tries > 1 else ""
