"""``slack`` as a strategy."""

from typing import ClassVar, Protocol

from patcher.edit.edit import Plan
from patcher.edit.room import Room
from patcher.golang.functions import Functions
from patcher.golang.pclntab import Function
from patcher.proof.events import Run
from patcher.strategies.slack import NAME, amd64, arm64
from patcher.strategies.strategy import Codes, Options, Strategy, need_slack


class Code(Protocol):
    """What an instruction set has to give."""

    def plan(self, functions: Functions, room: Room, slack_ns: int) -> Plan:
        """The edits. Raises NoRoom or UnsupportedGo."""

    def slack_set(self, functions: Functions) -> int | None:
        """The slack that an entry stub of ours sets; None where the entry is the linker's."""


CODES: Codes[Code] = Codes(NAME, {"amd64": amd64, "arm64": arm64})


class Slack(Strategy):
    """The process sets its timer slack as it starts. Every other strategy's patch may have this one's beside it."""

    name: ClassVar[str] = NAME
    isas: ClassVar[tuple[str, ...]] = tuple(CODES.by_isa)
    told: ClassVar[str] = "the program sets its timer slack as it starts"
    unwound: ClassVar[bool] = False  # it runs once, before there is a runtime

    def plan(self, functions: Functions, room: Room, options: Options) -> Plan:
        """Raises NoRoom, or UnsupportedGo for a file without an entry."""
        return CODES.of(functions).plan(functions, room, need_slack(self.name, options))

    def prove(self, functions: Functions, plan: Plan, options: Options) -> list[Run]:
        """With prctl granted and refused."""
        from patcher.strategies.slack import proof

        return proof.prove(functions, plan, need_slack(self.name, options))

    def stubs(self, functions: Functions) -> tuple[Function | None, ...]:
        """What lies at the file's entry."""
        return () if self.slack_ns(functions) is None else (functions.table.at(functions.image.entry),)

    def slack_ns(self, functions: Functions) -> int | None:
        """The slack that a patched program sets; None where it sets none."""
        code = CODES.known(functions)
        return code.slack_set(functions) if code else None

    def check(self, options: Options) -> None:
        """A slack has to be named."""
        need_slack(self.name, options)
        super().check(options)
