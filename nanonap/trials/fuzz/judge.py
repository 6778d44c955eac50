"""What one mutant's way through the patcher came to, judged without the patcher's own checks."""

import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import patcher
from nanonap.base.errors import NanonapError
from nanonap.toolchain.patched import variant_of
from nanonap.trials.fuzz.remembered import forget_all
from patcher.child import Limits
from patcher.errors import InternalFault
from patcher.file.content import LARGEST
from patcher.isolation import isolated

MOST_CPU_S = 5.0  # CPU time, not wall time: a busy machine is no finding
_MEMORY = 300 << 20
_LIBRARIES = 100 << 20  # what LIEF and the others take before any file is read
_HANGS_AFTER_S = 120
_LIMITS = Limits(cpu_seconds=120, memory=32 << 30, address_space=64 << 30, file_size=2 * LARGEST)


@dataclass(frozen=True)
class Verdict:
    """``outcome``: an error's class, "patched" or "read"; ``finding``: what is wrong with it, None if nothing is;
    ``ended``: whether it ended its process.
    """

    outcome: str
    finding: str | None
    cpu_s: float
    peak_bytes: int
    ended: bool = False


def judge(path: Path, arm: str, *, remembering: bool = False) -> Verdict:
    """Inspect and patch a file in a process of its own; whatever gets through to that is a finding.

    ``remembering``: with what this process remembers of undamaged files, if it does; else as a user's would.
    """
    try:
        return isolated(path, f"{__name__}:judged", Verdict, _LIMITS, arm=arm, remembering=remembering)
    except NanonapError as error:
        return Verdict("the command itself ended", str(error), 0, 0)


def judged(path: Path, arm: str, *, remembering: bool) -> Verdict:
    """The job of ``judge`` in its process."""
    if not remembering:
        forget_all()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_HANGS_AFTER_S)
    # A child begins with its parent's pages: what this process has beyond the libraries is not the patcher's.
    inherited = max(0, peak_of(resource.RUSAGE_SELF) - _LIBRARIES)
    out = path.with_name(path.name + ".out")
    variant = variant_of(arm)
    findings: list[str] = []
    _, seconds = timed(lambda: patcher.inspect(path), findings)
    outcome, cpu_s = timed(
        lambda: patcher.patch(path, out, variant.strategy, **variant.options, accept_thread_cost=True), findings
    )
    peak = max(0, peak_of(resource.RUSAGE_CHILDREN) - inherited)
    size = path.stat().st_size
    if max(seconds, cpu_s) > MOST_CPU_S:
        findings.append(f"{max(seconds, cpu_s):.1f} s of CPU time")
    if peak > most_memory(size):
        findings.append(f"{peak >> 20} MiB of memory for a file of {size >> 20} MiB")
    if outcome == "patched":
        _check_patch(path, out, findings)
    elif out.exists() or patcher_manifest(out).exists():
        findings.append("an error, and an output all the same")
    return Verdict(outcome, "; ".join(findings) or None, max(seconds, cpu_s), peak)


def judge_image(path: Path) -> Verdict:
    """Patch an image in a process of its own, verify what came of it, and revert it."""
    try:
        return isolated(path, f"{__name__}:judged_image", Verdict, _LIMITS)
    except NanonapError as error:
        return Verdict("the command itself ended", str(error), 0, 0)


def judged_image(path: Path) -> Verdict:
    """The job of ``judge_image`` in its process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_HANGS_AFTER_S)
    inherited = max(0, peak_of(resource.RUSAGE_SELF) - _LIBRARIES)
    out, back = path.with_name("out.tar"), path.with_name("back.tar")
    findings: list[str] = []
    outcome, cpu_s = timed(lambda: patcher.patch_image(path, out, force=True), findings)
    peak = max(0, *(peak_of(each) - inherited for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    if cpu_s > 2 * MOST_CPU_S:
        findings.append(f"{cpu_s:.1f} s of CPU time")
    if peak > 3 * path.stat().st_size + _MEMORY:
        findings.append(f"{peak >> 20} MiB of memory for an image of {path.stat().st_size >> 20} MiB")
    if outcome == "patched":
        try:
            patcher.verify_image(out)
            if not all(each.same_config for each in patcher.revert_image(out, back, force=True).images):
                findings.append("revert does not give the image")
        except NanonapError as error:
            findings.append(f"a patch that cannot be verified and reverted: {error}")
    elif out.exists():
        findings.append("an error, and an output all the same")
    return Verdict(outcome, "; ".join(findings) or None, cpu_s, peak)


def peak_of(who: int) -> int:
    """The most memory, in bytes, of this process or of the largest that it started (getrusage(2))."""
    return resource.getrusage(who).ru_maxrss * 1024


def most_memory(size: int) -> int:
    """What a file of that size may take, in bytes."""
    return 4 * min(size, LARGEST) + _MEMORY


def patcher_manifest(out: Path) -> Path:
    """Where the manifest lies."""
    return out.with_name(out.name + ".patch.json")


def timed(work: Callable[[], object], findings: list[str], good: str = "patched") -> tuple[str, float]:
    """The outcome of some work, and its CPU time, that of the processes that it started included."""
    before, begun = sum(os.times()[:4]), time.monotonic()
    outcome = good
    try:
        work()
    except InternalFault as error:
        outcome = type(error).__name__
        findings.append(str(error))
    except NanonapError as error:
        outcome = type(error).__name__
        if "\n" in str(error) or not str(error).strip():
            findings.append(f"a message of more than one line: {error}")
    except Exception as error:
        outcome = "a traceback"
        findings.append(f"{type(error).__name__}: {error}")
    return outcome, min(sum(os.times()[:4]) - before, time.monotonic() - begun)


def _check_patch(path: Path, out: Path, findings: list[str]) -> None:
    """The output is the input with exactly the manifest's edits; verify agrees; revert gives the input."""
    expected = bytearray(path.read_bytes())
    try:
        for edit in patcher.verify(out).manifest.edits:
            if expected[edit.offset : edit.offset + len(edit.old)] != edit.old:
                findings.append(f"the manifest's old bytes at {edit.offset:#x} are not the input's")
            expected[edit.offset : edit.offset + len(edit.new)] = edit.new
        if out.read_bytes() != expected:
            findings.append("the output is not the input with the manifest's edits")
        patcher.revert(out)
    except NanonapError as error:
        findings.append(f"a patch that cannot be verified and reverted: {error}")
    else:
        if out.read_bytes() != path.read_bytes():
            findings.append("revert does not give the input")
        out.unlink()
