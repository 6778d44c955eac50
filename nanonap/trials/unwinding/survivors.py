"""The stress program, stock and patched, and how it is run."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanonap.base.processes import started
from patcher import Manifest
from patcher.live import slack
from patcher.live.agent import Request
from patcher.live.calling import call
from patcher.live.script import Script

STOCK = "stock"
LIVE = "netpoll+live"  # the stock file, its process injected with what netpoll writes into a file
DIES = 2  # the runtime's exit status after a panic, a fatal error or SIGQUIT (runtime/panic.go, signal_unix.go)
_PATIENCE = 120  # seconds until a run that does not end is a failure
_SHOWN = 400  # characters of a failed run's output


class Unsound(Exception):
    """A run of the stress program that did not hold; the message says what was seen."""


@dataclass(frozen=True)
class Survivor:
    """One ``survive``; ``manifest`` is None for the stock one. With ``script`` each of its processes is injected.

    The manifest is the patched file's then, which names the same bytes at the same addresses.
    """

    path: Path
    manifest: Manifest | None
    script: Script | None = None

    @property
    def stubs(self) -> tuple[range, ...]:
        """Where the new code lies, as linked: the edits that have assembly."""
        edits = self.manifest.edits if self.manifest else ()
        return tuple(range(each.address, each.end) for each in edits if each.assembly)

    def in_stub(self, address: int) -> bool:
        """True for a PC, as linked, in the new code."""
        return any(address in each for each in self.stubs)

    @property
    def holders(self) -> frozenset[str]:
        """The functions that hold new code."""
        edits = self.manifest.edits if self.manifest else ()
        return frozenset(each.function for each in edits if each.assembly)

    def run(self, *options: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end. Raises Unsound if it has none."""
        command = [self.path, *options]
        with process_of(command, environment) as process:
            try:
                if self.script:  # stopped meanwhile: a busy machine may need as long to inject as the run is to last
                    process.send_signal(signal.SIGSTOP)
                    self.inject(process.pid)
                    process.send_signal(signal.SIGCONT)
                out, err = process.communicate(timeout=_PATIENCE)
            except subprocess.TimeoutExpired as error:
                raise Unsound(f"{' '.join(map(str, options))}: did not end within {_PATIENCE} s") from error
            finally:
                process.kill()
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def inject(self, pid: int) -> None:
        """Have the agent do what the script says, with slack 1 ns; nothing where there is none."""
        if self.script:
            begun = started(pid) or 0
            call(Request(pid, begun, self.script, str(slack.record_of(pid, begun)), slack_ns=1))

    def figures(self, *options: str | Path, **environment: str) -> dict[str, Any]:
        """The figures of a run. Raises Unsound unless all that holds for every mode does."""
        return sound(options, self.run(*options, **environment))


def sound(options: Sequence[str | Path], answer: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """The figures of a run that has ended. Raises Unsound unless all that holds for every mode does."""
    said = f"{' '.join(map(str, options))}: exit status {answer.returncode}: {(answer.stdout + answer.stderr)}"
    if answer.returncode != 0:
        raise Unsound(said[:_SHOWN])
    figures: dict[str, Any] = json.loads(answer.stdout)
    if not figures["ok"] or figures["sleeps"] == 0 or figures["early"] or figures["corrupted"]:
        raise Unsound(said[:_SHOWN])
    return figures


def process_of(command: Sequence[str | Path], own: dict[str, str]) -> subprocess.Popen[str]:
    """A process with its output in pipes and ``clean_environment(own)``."""
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, errors="replace", env=clean_environment(own))


def clean_environment(own: dict[str, str]) -> dict[str, str]:
    """The user's environment without any setting of the Go runtime, with ``own`` over it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GO")} | own
