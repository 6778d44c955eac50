"""The measured program patched on the spot, for experiments that need arms which are not among the built ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.ground.watchdog import guarded_folder
from nanonap.lab.plan.arms import Arm
from nanonap.toolchain.patched import variants
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher import patch

STOCK = "stock"
#: What "+slack1" stands for in an arm's name.
_SLACK = "+slack1"


def plain_arm(name: str, path: Path, method: str = "sleep") -> Arm:
    """A program as the arm of that name, whatever was done to its file."""
    return Arm(name, path, method, None, None, DEFAULT_GO, "")


@contextmanager
def patched_arms(setting: Setting, names: Sequence[str]) -> Iterator[dict[str, Arm]]:
    """Arms by name: ``stock``, a strategy (``netpoll``), and either with ``+slack1``; their files go with the block.

    A name that begins with ``floor`` is stock's file with the raw system call. They run on this machine: raises
    QuotaUnavailable for a backend whose programs run elsewhere; besides what ``patch`` raises.
    """
    setting.must_be_here("this machine's own waits are measured")
    with patched_copies(setting, names) as arms:
        yield arms


@contextmanager
def patched_copies(setting: Setting, names: Sequence[str]) -> Iterator[dict[str, Arm]]:
    """As ``patched_arms``, for what runs them in the backend's groups, wherever these are."""
    with guarded_folder() as folder:
        setting.say("patching the program with every strategy")
        yield {name: _arm(setting, name, folder) for name in names}


def _arm(setting: Setting, name: str, folder: Path) -> Arm:
    base, slack_ns = name.removesuffix(_SLACK), 1 if name.endswith(_SLACK) else None
    method = "floor" if base == "floor" else "sleep"
    strategy = None if base in (STOCK, "floor") else base
    if strategy is None and slack_ns is None:
        return plain_arm(name, setting.program, method)
    (variant,) = variants(strategy or "slack", slack_ns)
    out = folder / f"{setting.program.name}.{variant.name}"
    if not out.exists():  # stock and floor have theirs in common
        patch(setting.program, out, variant.strategy, **variant.options, accept_thread_cost=True)
    return Arm(name, out, method, variant.strategy, slack_ns, DEFAULT_GO, "")
