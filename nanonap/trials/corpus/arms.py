"""The ways to change a program that a campaign compares with stock."""

from nanonap.base.errors import UsageError
from nanonap.toolchain.patched import VARIANTS, Variant, has_code
from nanonap.toolchain.targets import AMD64, Target

#: The stock program, changed while it runs: for servers.
LIVE = Variant("live", "netpoll", 1)
DEFAULT_ARMS = "netpoll+slack1,live"
_ALL = (*VARIANTS, LIVE)
_BY_NAME = {each.name: each for each in _ALL}

#: Tried where the arm asked for finds no padding for the slack: the runtime's own wait needs none.
WITHOUT_SLACK = _BY_NAME["netpoll"]


def chosen_arms(names: str, target: Target = AMD64) -> tuple[Variant, ...]:
    """The variants of a comma-separated list of arms, or of "all" that have code for the target.

    A strategy's name stands for its arm: ``slack`` for ``stock+slack1``. Raises UsageError, listing the known ones.
    """
    known = {each.name: each for each in _ALL if has_code(each, target)}
    if names == "all":
        return tuple(known.values())
    chosen = []
    for name in dict.fromkeys(each.strip() for each in names.split(",")):
        arm = "stock+slack1" if name == "slack" else name
        if arm not in known:
            of = "" if target.here else f" for {target.name}"
            raise UsageError(f"--strategy {name}: unknown{of}; choose from {', '.join(known)}, slack, all")
        chosen.append(known[arm])
    return tuple(chosen)
