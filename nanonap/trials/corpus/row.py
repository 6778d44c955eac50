"""One line of the campaign's table."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Result(StrEnum):
    """What a trial came to."""

    SAME = "same"
    CHANGED = "changed"
    UNSTABLE = "unstable in stock"
    REFUSED = "refused"
    UNEXPECTED = "refused, unexpectedly"
    NOT_HERE = "not here"
    STOCK_FAILS = "fails in stock"
    LEFT_OUT = "left out"


@dataclass(frozen=True)
class Row:
    """A test binary or a program in one arm.

    ``kind`` is "std" or "program"; ``origin`` says where it comes from and in which version; ``go`` is the release
    that built it ("" where it is not known); ``evidence`` is what was compared between the arms; ``wall_s`` is what
    the trial took, in seconds.
    """

    kind: str
    name: str
    origin: str
    go: str
    arm: str
    result: Result
    detail: str
    evidence: dict[str, str] = field(default_factory=dict)
    wall_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)
