"""The ways to change a program that a campaign compares with stock."""

from nanonap.base.errors import UsageError
from nanonap.toolchain.patched import VARIANTS, Variant

#: The stock program, changed while it runs: for servers.
LIVE = Variant("live", "netpoll", 1)
DEFAULT_ARMS = "netpoll+slack1,live"
_ALL = (*VARIANTS, LIVE)
_BY_NAME = {each.name: each for each in _ALL}

#: Tried where the arm asked for finds no padding for the slack: the runtime's own wait needs none.
WITHOUT_SLACK = _BY_NAME["netpoll"]


def chosen_arms(names: str) -> tuple[Variant, ...]:
    """The variants of a comma-separated list of arms, or of "all". Raises UsageError, listing the known ones.

    A strategy's name stands for its arm: ``slack`` for ``stock+slack1``.
    """
    if names == "all":
        return _ALL
    chosen = []
    for name in dict.fromkeys(each.strip() for each in names.split(",")):
        arm = "stock+slack1" if name == "slack" else name
        if arm not in _BY_NAME:
            raise UsageError(f"--strategy {name}: unknown; choose from {', '.join(_BY_NAME)}, slack, all")
        chosen.append(_BY_NAME[arm])
    return tuple(chosen)
