"""What the patcher tells a person, and the JSON it tells a script."""

from typing import Any

from patcher.inspection import Inspection
from patcher.manifest import path_of
from patcher.patching import UNDO_RECORD, Patched
from patcher.undoing import Reverted, Verified

_INHERITED = (
    "the timer slack that the program sets is inherited by every child process that it starts (prctl(2)); "
    "a child that should not have it must set its own"
)


def patched_json(done: Patched) -> dict[str, Any]:
    """The manifest, with where it went and what could not be kept."""
    return {"out": str(done.out), "warnings": list(done.warnings), **done.manifest.to_json()}


def show_patched(done: Patched) -> None:
    """One patch in a few lines: what changed, what is newly called, how to undo it."""
    manifest = done.manifest
    changed = sum(len(each.new) for each in manifest.edits)
    name = manifest.strategy + (f", slack {manifest.slack_ns} ns" if manifest.slack_ns else "")
    print(f"{done.out}: patched ({name}), {manifest.go['version']}")
    print(f"  changed       {len(manifest.edits)} places, {changed} bytes; the file's size is unchanged")
    for edit in manifest.edits:
        print(f"                {edit.address:#x} {edit.function}: {edit.purpose}")
    print(f"  newly calls   {', '.join(manifest.new_syscalls)} (a seccomp filter that kills on them kills the program)")
    print(f"  proof         {manifest.proof.passed} of {manifest.proof.cases} cases hold")
    print(f"  manifest      {path_of(done.out)}")
    if not any(edit.purpose == UNDO_RECORD for edit in manifest.edits):
        print("  warning       no free bytes for an undo record: without the manifest this patch cannot be undone")
    print(f"  undo          invoke revert {done.out}")
    if manifest.slack_ns is not None:
        print(f"  note          {_INHERITED}")
    if manifest.strategy == "sleep":
        print("  note          every sleeping goroutine now holds an OS thread; mind the pids limit")
    for warning in done.warnings:
        print(f"  warning       {warning}")


def show_inspection(seen: Inspection) -> None:
    """A binary in a table: what it is, where it sleeps, what applies."""
    layout = [name for name, holds in seen.layout.items() if holds] or ["plain executable"]
    print(f"{seen.path}: {seen.go['version']} linux/{seen.go['arch']}, {', '.join(layout)}")
    if seen.patched:
        slack = f", slack {seen.patched['slack_ns']} ns" if seen.patched["slack_ns"] else ""
        print(f"  patched       {seen.patched['strategy']}{slack}; `invoke revert {seen.path}` undoes it")
    for name, each in seen.strategies.items() if not seen.patched else ():
        if each.applies:
            places = ", ".join(f"{site['address']:#x}" for site in each.sites)
            print(f"  {name:<13} applies, at {places}")
        else:
            print(f"  {name:<13} does not apply: {each.reason}")
    for call in seen.syscalls:
        number = "?" if call.number is None else call.number
        print(f"  system call   {call.address:#x} {call.function}: {number} {call.name}")


def verified_json(checked: Verified) -> dict[str, Any]:
    """What was verified, and the proof run again."""
    return {
        "path": str(checked.path),
        "verified": True,
        "strategy": checked.manifest.strategy,
        "slack_ns": checked.manifest.slack_ns,
        "edits": len(checked.manifest.edits),
        "proof": {"cases": checked.proof.cases, "passed": checked.proof.passed},
        "by": checked.by,
    }


def show_verified(checked: Verified) -> None:
    """One line: every byte is as the manifest says, and the stubs are proven."""
    source = "manifest" if checked.by == "manifest" else "own undo record (there is no manifest beside it)"
    print(
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
        print(f"warning: {warning}")
    source = "manifest" if done.by == "manifest" else "undo record in the binary"
    if done.written:
        print(f"{done.out}: the original, byte for byte (its SHA-256 is that of the {source})")
    else:
        print(f"{done.out}: can be reverted, by the {source}, to SHA-256 {done.sha256}; nothing was written")
