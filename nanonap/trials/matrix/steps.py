"""What is done to one arm of a cell, step by step."""

import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import patcher
from nanonap.base.errors import NanonapError
from nanonap.toolchain.patched import Variant
from nanonap.trials.corpus.counting import tracing, waits_in
from nanonap.trials.matrix.result import Arm, State, Step
from nanonap.trials.unwinding.asleep import Ended, quit_asleep
from nanonap.trials.unwinding.checks import crash_findings, profiled, quit_findings
from nanonap.trials.unwinding.survivors import Survivor, Unsound, clean_environment
from patcher import Manifest
from patcher.errors import NoRoom, ShapeMismatch, UnsupportedGo, UsesSynctest
from patcher.strategies.table import STRATEGIES

#: What the patcher says of a binary that it does not know; anything else that it raises is a failure.
REFUSALS = (NoRoom, ShapeMismatch, UnsupportedGo, UsesSynctest)
PLAN = "1us*20,50us*40,1ms*10,3ms*5,2500us*3"
#: Whether a sample meets the new code is chance; profiles are taken, ever longer, until one does.
_PROFILE_LENGTHS = ("700ms", "2s", "6s", "20s")
_SHOWN = 600  # characters of a failure


class Failed(Exception):
    """A step that did not hold; the message says what was found."""


@dataclass(frozen=True)
class Programs:
    """A cell's stock programs, and how the stock stress program ends when it is quit asleep."""

    sleepbench: Path
    survive: Path
    ended: Ended


class ArmRun:
    """One arm on its way through the steps."""

    def __init__(self, variant: Variant, programs: Programs, folder: Path) -> None:
        """``folder`` takes the arm's files."""
        self.variant = variant
        self.programs = programs
        self.folder = folder
        self.survivor = Survivor(folder / f"survive.{variant.name}", None)
        self.sleepbench = folder / f"sleepbench.{variant.name}"
        self.steps: list[Step] = []

    def run(self) -> Arm:
        """All steps, up to the first that is not ok; what was patched is reverted in any case."""
        for name, step in self._all_steps():
            if not self.take(name, step):
                break
        if self.survivor.path.exists() and self.steps[-1].name != "revert":
            self.take("revert", self._revert)
        return Arm(self.variant.name, tuple(self.steps))

    def _all_steps(self) -> list[tuple[str, Callable[[], str]]]:
        strategy = STRATEGIES[self.variant.strategy]
        return [
            ("inspect", self._inspect),
            ("patch", self._patch),
            ("verify", self._verify),
            ("sleep", self._sleep),
            *([("count", self._count)] if strategy.waits else []),
            ("collect", self._collect),
            *([("profile", self._profile)] if strategy.unwound else []),
            ("quit", self._quit),
            ("crash", self._crash),
            ("revert", self._revert),
        ]

    def take(self, name: str, step: Callable[[], str]) -> bool:
        """Take a step; whether it is ok."""
        began = time.monotonic()
        try:
            state, said = State.OK, step()
        except REFUSALS as error:
            state, said = State.REFUSED if name in ("inspect", "patch") else State.FAILED, str(error)
        except (NanonapError, Unsound, Failed, OSError, LookupError, ValueError, subprocess.TimeoutExpired) as error:
            state, said = State.FAILED, f"{type(error).__name__}: {error}"
        for path in (self.programs.sleepbench, self.programs.survive, self.sleepbench, self.survivor.path):
            said = said.replace(str(path), path.name)  # where this machine keeps it is no part of the result
        line = " ".join(said.split())[:_SHOWN]
        self.steps.append(Step(name, state, line, round(time.monotonic() - began, 2)))
        return state is State.OK

    def _inspect(self) -> str:
        seen = patcher.inspect(self.programs.survive)
        wanted = [self.variant.strategy, *(["slack"] if self.variant.slack_ns else [])]
        for name in wanted:
            if not seen.strategies[name].applies:
                raise ShapeMismatch(str(seen.strategies[name].reason))
        if seen.patched:
            raise Failed(f"an unpatched program is said to be patched: {seen.patched}")
        return ", ".join(f"{site.function} {site.address:#x}" for site in seen.strategies[wanted[0]].sites)

    def _patch(self) -> str:
        self._patch_one(self.programs.sleepbench, self.sleepbench)
        manifest = self._patch_one(self.programs.survive, self.survivor.path)
        self.survivor = Survivor(self.survivor.path, manifest)
        return f"{len(manifest.edits)} edits, {manifest.proof.passed} cases hold"

    def _patch_one(self, program: Path, out: Path) -> Manifest:
        chosen = self.variant
        done = patcher.patch(program, out, chosen.strategy, **chosen.options, accept_thread_cost=True, force=True)
        return done.manifest

    def _verify(self) -> str:
        checked = patcher.verify(self.survivor.path)
        return f"{checked.proof.passed} cases hold"

    def _sleep(self) -> str:
        """sleepbench: no sleep is early, and the timer slack is what was asked for."""
        answer = subprocess.run(
            [self.sleepbench, "-plan", PLAN, "-sleepers", "2", "-warmup", "2"],
            capture_output=True,
            check=False,
            timeout=60,
            env=clean_environment({}),
        )
        if answer.returncode != 0:
            raise Failed(f"exit status {answer.returncode}: {answer.stderr.decode(errors='replace')}")
        return self._slept(answer.stdout, _timer_slack_ns())

    def _slept(self, stdout: bytes, inherited_ns: int) -> str:
        """What sleepbench told holds; without an own timer slack it has the one that it inherited."""
        line, _, body = stdout.partition(b"\n")
        header = json.loads(line)
        requested, actual = np.frombuffer(body, "<i8").reshape(len(header["columns"]), header["n"])[:2]
        if header["truncated"] or (early := int((actual < requested).sum())):
            raise Failed("a run cut short" if header["truncated"] else f"{early} of {header['n']} sleeps early")
        wanted = self.variant.slack_ns or inherited_ns
        if header["timer_slack_ns"] != wanted:
            raise Failed(f"timer slack {header['timer_slack_ns']} ns, expected {wanted} ns")
        return f"{header['n']} sleeps, none early"

    def _count(self) -> str:
        """What sleepbench's runtime waits in, as strace sees it."""
        log = self.folder / "waits"
        command = [*tracing(log), str(self.sleepbench), "-plan", PLAN, "-sleepers", "2", "-warmup", "2"]
        answer = subprocess.run(command, capture_output=True, check=False, timeout=300, env=clean_environment({}))
        if answer.returncode:
            raise Failed(f"exit status {answer.returncode}: {answer.stderr.decode(errors='replace')}")
        made = waits_in(log)
        if made.milliseconds or not made.precise:
            raise Failed(f"{made.milliseconds} waits in whole milliseconds are left, {made.precise} are precise")
        return f"{made.precise} waits, none in whole milliseconds"

    def _collect(self) -> str:
        """The collector runs all the time, and writes over what it frees (runtime/extern.go, clobberfree)."""
        environment = {"GOGC": "1", "GODEBUG": "clobberfree=1,invalidptr=1"}
        figures = self.survivor.figures("-mode", "gc", "-for", "400ms", "-sleepers", "100", **environment)
        return f"{figures['gcs']} collections, {figures['sleeps']} sleeps"

    def _profile(self) -> str:
        for length in _PROFILE_LENGTHS:
            seen = profiled(self.survivor, self.variant.name, self.folder, length)
            hold(seen.findings)
            if seen.met:
                return f"{seen.met} samples in the new code, all unwound ({length})"
        raise Failed(f"no sample met the new code, not even in {_PROFILE_LENGTHS[-1]}")

    def _quit(self) -> str:
        ended = quit_asleep(self.survivor, self.variant.name)
        hold(quit_findings(ended, self.variant.name, self.programs.ended))
        return "every sleeper shown as in stock"

    def _crash(self) -> str:
        hold(crash_findings(self.survivor, self.variant.name))
        return "every thread told its stack"

    def _revert(self) -> str:
        for out, program in ((self.sleepbench, self.programs.sleepbench), (self.survivor.path, self.programs.survive)):
            if out.exists():
                patcher.revert(out)
                if sha256(out) != sha256(program):
                    raise Failed(f"{program.name} reverted is not the original: its SHA-256 differs")
                out.unlink()
        return "SHA-256 is the original's"


def sha256(path: Path) -> str:
    """A file's SHA-256 in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hold(findings: list[str]) -> None:
    """Raises Failed for any."""
    if findings:
        raise Failed(f"{len(findings)} findings, the first: {findings[0]}")


def _timer_slack_ns() -> int:
    """This process's own, which programs inherit (proc_pid_timerslack_ns(5))."""
    return int(Path("/proc/self/timerslack_ns").read_text(encoding="ascii"))
