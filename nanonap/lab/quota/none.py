"""No limit: the command runs where the caller runs."""

from collections.abc import Sequence
from typing import ClassVar

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.base import Backend, Group, Throttling
from nanonap.lab.quota.limits import Limits


class NoGroup(Group):
    """Nothing around the command."""

    effective = Limits()

    def command(self, argv: Sequence[str]) -> list[str]:
        """``argv`` as it is."""
        return list(argv)

    def counters(self) -> Throttling | None:
        """None: nothing counts."""
        return None

    def close(self) -> None:
        """Nothing to remove."""


class NoBackend(Backend):
    """The backend that sets no quota, for machines or users that cannot, and for conditions without one."""

    name: ClassVar[str] = "none"
    limits: ClassVar[bool] = False

    def prepare(self) -> None:
        """Nothing to find."""

    def open(self, limits: Limits) -> Group:
        """A group without a limit. Raises QuotaUnavailable if one is asked for."""
        if limits.limited:
            raise QuotaUnavailable(
                self.name, f"it sets no quota, and {limits} was asked for", "choose another --backend"
            )
        return NoGroup()

    def close(self) -> None:
        """Nothing was changed."""
