"""What the patcher tells a person, and the JSON it tells a script."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from nanonap.base.terminal import command, say
from patcher.golang.seccomp import Filters
from patcher.inspection import Carried, Inspection
from patcher.manifest import path_of
from patcher.patching import UNDO_RECORD, Patched
from patcher.strategies.table import STRATEGIES
from patcher.undoing import Reverted, Verified

_INHERITED = (
    "the timer slack that the program sets is inherited by every child process that it starts (prctl(2)); "
    "a child that should not have it must set its own"
)


def patched_json(done: Patched) -> dict[str, Any]:
    """The manifest, with where it went, what could not be kept, and the program's own filters."""
    beside = {"out": str(done.out), "warnings": list(done.warnings), "seccomp": asdict(done.filters)}
    return beside | done.manifest.to_json()


def show_patched(done: Patched) -> None:
    """One patch in a few lines: what changed, what is newly called, how to undo it."""
    manifest = done.manifest
    changed = sum(len(each.new) for each in manifest.edits)
    name = manifest.strategy + _options(manifest.to_json())
    say(f"{done.out}: patched ({name}), {manifest.go.version}")
    say(f"  changed       {len(manifest.edits)} places, {changed} bytes; the file's size is unchanged")
    for edit in manifest.edits:
        say(f"                {edit.address:#x} {edit.function}: {edit.purpose}")
    say(f"  newly calls   {', '.join(manifest.new_syscalls)} (a seccomp filter that kills for them kills the program)")
    if done.filters:
        say(f"  warning       {_own_filter(done.filters, ', '.join(manifest.new_syscalls))}")
    say(f"  proof         {manifest.proof.passed} of {manifest.proof.cases} cases hold")
    say(f"  manifest      {path_of(done.out)}")
    if not any(edit.purpose == UNDO_RECORD for edit in manifest.edits):
        say("  warning       no free bytes for an undo record: without the manifest this patch cannot be undone")
    say(f"  undo          {command('revert', done.out)}")
    if manifest.slack_ns is not None:
        say(f"  note          {_INHERITED}")
    if note := STRATEGIES[manifest.strategy].note:
        say(f"  note          {note}")
    for warning in done.warnings:
        say(f"  warning       {warning}")


def _own_filter(filters: Filters, calls: str) -> str:
    """What it may mean that the program can set a filter itself."""
    return (
        f"the program may set a seccomp filter itself ({filters}), and that may kill it at {calls}: "
        "let it do its real work and see whether it ends by SIGSYS"
    )


_LAYOUT = ("pie", "stripped", "cgo", "race")
_MOST_SHOWN = 6


def show_inspection(seen: Inspection) -> None:
    """A binary in a table: what it is, where it sleeps, what applies."""
    layout = [name for name in _LAYOUT if getattr(seen.layout, name)] or ["plain executable"]
    sections = f"{len(seen.layout.sections)} sections" if seen.layout.sections else "no section table"
    say(f"{seen.path}: {seen.go.version} linux/{seen.go.arch}, {', '.join(layout)}, {sections}")
    if seen.patched:
        options = _options(asdict(seen.patched))
        undo = _undo(seen.path, seen.patched)
        say(f"  patched       {seen.patched.strategy}{options}; {undo}")
    for path in seen.sleep_paths:
        at = "not found" if path.address is None else f"{path.address:#x}"
        say(f"  sleep path    {at} {path.function}: {path.shape or path.reason}")
    for poll in (each for each in seen.epoll_calls if each.timeout_ms == 0):
        say(f"  poll          {poll.address:#x} {poll.function}: asks for what is ready and never waits")
    for call in seen.syscalls:
        number = "?" if call.number is None else call.number
        say(f"  system call   {call.address:#x} {call.function}: {number} {call.name}")
    names = list(dict.fromkeys(each.function for each in seen.usleep_callers))
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    say(f"  usleep        called at {len(seen.usleep_callers)} places, by {', '.join(names[:_MOST_SHOWN])}{more}")
    if seen.filters:
        say(f"  seccomp       {_own_filter(seen.filters, 'a call that is new')}")
    for name, each in seen.strategies.items() if not seen.patched else ():
        if each.applies:
            places = ", ".join(f"{site.address:#x}" for site in each.sites)
            say(f"  {name:<13} applies, at {places}")
        else:
            say(f"  {name:<13} does not apply: {each.reason}")


def _options(document: dict[str, Any]) -> str:
    """``, slack 1 ns, spin 60000 ns``: what a patch was asked for beside its strategy."""
    values = ((name, document[f"{name}_ns"]) for name in ("slack", "quantum", "dense", "spin"))
    return "".join(f", {name} {value} ns" for name, value in values if value)


def _undo(path: Path, patched: Carried) -> str:
    undone = f"`{command('revert', path)}` undoes it, by"
    if patched.manifest:
        return f"{undone} the manifest beside it"
    if patched.record:
        return f"{undone} the record that it carries (there is no manifest beside it)"
    return "its manifest is needed to undo it, and is not beside it"


def verified_json(checked: Verified) -> dict[str, Any]:
    """What was verified, and the proof run again."""
    return {
        "path": str(checked.path),
        "verified": True,
        "strategy": checked.manifest.strategy,
        "slack_ns": checked.manifest.slack_ns,
        **checked.manifest.wait.to_json(),
        "edits": len(checked.manifest.edits),
        "proof": {"cases": checked.proof.cases, "passed": checked.proof.passed},
        "by": checked.by,
    }


def show_verified(checked: Verified) -> None:
    """One line: every byte is as the manifest says, and the stubs are proven."""
    source = "manifest" if checked.by == "manifest" else "own undo record (there is no manifest beside it)"
    say(
        f"{checked.path}: as its {source} says, {len(checked.manifest.edits)} edits, nothing else changed; "
        f"{checked.proof.passed} of {checked.proof.cases} cases hold"
    )


def revert_json(done: Reverted) -> dict[str, Any]:
    """Where the original is, or that it could be made."""
    return {
        "out": str(done.out),
        "reverted": done.written,
        "by": done.by,
        "sha256": done.sha256,
        "warnings": list(done.warnings),
    }


def show_reverted(done: Reverted) -> None:
    """Where the original is, and what could not be kept."""
    for warning in done.warnings:
        say(f"warning: {warning}")
    source = "manifest" if done.by == "manifest" else "undo record in the binary"
    if done.written:
        say(f"{done.out}: the original, byte for byte (its SHA-256 is that of the {source})")
    else:
        say(f"{done.out}: can be reverted, by the {source}, to SHA-256 {done.sha256}; nothing was written")
