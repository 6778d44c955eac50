"""Which releases and variants these tests run, and how they get the stress program."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nanonap.base.paths import TRIED
from nanonap.toolchain.build import build
from nanonap.toolchain.patched import VARIANTS
from nanonap.toolchain.releases import NEWEST, oldest_release
from nanonap.trials.unwinding.asleep import started
from nanonap.trials.unwinding.survivors import LIVE, Survivor
from patcher import patch
from patcher.live.planning import plan
from patcher.wait import PRECISE

RELEASES = (NEWEST, oldest_release())
PATCHES = ("netpoll", "netpoll+slack1", "netpoll+slack1+spin", "netpoll+slack1+quantum", "sleep", "usleep")
#: (variant, release) of patched files, and of injected processes: a long test of all but the newest.
PATCHES_AND_LIVE = [
    *((variant, RELEASES[0]) for variant in (*PATCHES, LIVE)),
    *(pytest.param(variant, go, marks=pytest.mark.long) for variant in (*PATCHES, LIVE) for go in RELEASES[1:]),
]
_VARIANTS = {each.name: each for each in VARIANTS}

#: Give the survivor of a variant (or STOCK) and a Go release.
Survivors = Callable[..., Survivor]


def build_survive(go: str) -> Path:
    """The stock program."""
    return build(go, programs=("survive",), out=TRIED)[0].path


def patch_survive(stock: Path, variant: str, folder: Path) -> Survivor:
    """Patch the stock program by the real patcher."""
    chosen = _VARIANTS[variant]
    out = folder / f"survive.{variant}"
    done = patch(stock, out, chosen.strategy, **chosen.options, accept_thread_cost=True)
    return Survivor(done.out, done.manifest)


def inject_survive(stock: Path, folder: Path) -> Survivor:
    """The stock program, and what is done to each of its processes: planned once, since all have the same memory."""
    with started(Survivor(stock, None), "-for", "1h", "-sleepers", "5") as sleeping:
        script = plan(sleeping.process.pid, "inject", PRECISE)
    return Survivor(stock, patch_survive(stock, "netpoll", folder).manifest, script)
