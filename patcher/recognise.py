"""Telling a binary that carries a patch of ours, from its own bytes."""

from nanonap.base.terminal import command
from patcher.errors import AlreadyPatched
from patcher.golang.functions import Functions
from patcher.source import can_be_typed
from patcher.strategies.table import STRATEGIES


def strategies_present(functions: Functions) -> tuple[str, ...]:
    """The strategies whose stubs this binary holds."""
    return tuple(name for name, each in STRATEGIES.items() if each.stubs(functions))


def refuse_patched(functions: Functions) -> None:
    """Raise AlreadyPatched for a binary with any of our stubs."""
    present = strategies_present(functions)
    if present:
        path = functions.image.path
        undo = f"run `{command('revert', path)}`" if can_be_typed(path) else "revert it"
        raise AlreadyPatched(f"{path}: already patched ({' and '.join(present)}); {undo} first")
