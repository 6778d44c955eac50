"""One process under strain: what is in its memory, the scripts for it, what it says at its end."""

import contextlib
import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from nanonap.base.processes import started
from nanonap.trials.cycles.plans import Plans
from patcher.live.agent import Request
from patcher.live.planning import plan
from patcher.live.process import entry_of
from patcher.live.script import Script
from patcher.wait import PRECISE

ACTIONS = ("inject", "eject")
_MOST_SAID = 2000
_END_S = 120.0  # how long it may take to end: far longer than any of its work


@dataclass
class Subject:
    """A running ``churn``. Scripts are kept by what memory holds: planning takes seconds, a change milliseconds."""

    process: subprocess.Popen[str]
    record: Path
    stderr: IO[bytes]
    begun: int = 0
    _known: dict[tuple[str, bytes], Script] = field(default_factory=dict)
    _spans: list[tuple[int, int]] = field(default_factory=list)
    _bias: int = 0

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs on."""
        return self.process.poll() is None

    def foresee(self, plans: Plans) -> None:
        """Plan nothing here: these are all the scripts that there are."""
        self._spans, self._bias = plans.spans, entry_of(self.pid) - plans.entry
        self._known = {(action, memory): script for action, memory, script in plans.scripts}

    def memory(self) -> bytes:
        """All bytes that a change may touch, as they are now."""
        with Path(f"/proc/{self.pid}/mem").open("rb", buffering=0) as memory:
            return b"".join(_at(memory.seek(self._bias + low) and memory.read(size)) for low, size in self._spans)

    def request(self, action: str, **options: Any) -> Request:  # noqa: ANN401 - Request's own
        """What the agent is asked for an action, from the state that memory is in."""
        script = self._known.get((action, self.memory())) if self._spans else None
        return Request(self.pid, self.begun, script or self._planned(action), str(self.record), **options)

    def _planned(self, action: str) -> Script:
        script = plan(self.pid, action, PRECISE if action == "inject" else None)
        if not self._spans:
            self._spans = [(each.address, len(each.before)) for site in script.sites for each in site.windows]
            self._bias = entry_of(self.pid) - script.entry
        self._known[action, self.memory()] = script
        return script

    def state(self) -> str:
        """What the planner takes memory for: "stock", "injected" or "staged", of the first wait."""
        return self.request("eject").script.sites[0].state

    def end(self) -> dict[str, Any]:
        """Ask it to end; what it says of itself, with ``status``: its exit status, None where it hangs."""
        try:
            out, _ = self.process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.communicate()
            return {"ok": False, "status": None, "stderr": self._said()}
        try:
            told: dict[str, Any] = json.loads(out)
        except ValueError:
            told = {"ok": False}
        return told | {"status": self.process.returncode, "stderr": "" if told["ok"] else self._said()}

    def _said(self) -> str:
        """The end of what it wrote on stderr: a file, so that a traceback that nobody reads does not hold it up."""
        self.stderr.seek(0)
        return self.stderr.read().decode("utf-8", "replace")[-_MOST_SAID:]


def _at(data: bytes | int) -> bytes:
    return data if isinstance(data, bytes) else b""


@contextlib.contextmanager
def subject(path: Path, record: Path, *words: str, plans: Plans | None = None) -> Iterator[Subject]:
    """A process of the program, under way; killed behind the block where it still runs. ``plans``: as ``foresee``."""
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [path, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        try:
            if process.stdout is None or process.stdout.readline() != f"{process.pid}\n":
                raise AssertionError(f"{path} does not start")
            target = Subject(process, record, stderr, started(process.pid) or 0)
            if plans is not None:
                target.foresee(plans)
            yield target
        finally:
            process.kill()
            process.communicate()
