"""What a cell came to, and the JSON that it is kept in."""

import enum
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = 2  # of a kept cell; raise it when the steps change, and every cell is run again


class State(enum.StrEnum):
    """How a step, an arm or a cell ended; ``REFUSED`` is the patcher's own answer, with a reason."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Step:
    """One thing done to one arm. ``said`` is a figure where it is ok, else the reason; in one line."""

    name: str
    state: State
    said: str
    seconds: float


@dataclass(frozen=True)
class Arm:
    """A strategy in a cell, and its steps in their order; after one that is not ok there is none but revert."""

    name: str
    steps: tuple[Step, ...]

    @property
    def state(self) -> State:
        """The worst of its steps."""
        return worst(each.state for each in self.steps)

    @property
    def reason(self) -> str:
        """Why it is not ok; empty if it is."""
        return "; ".join(f"{each.name}: {each.said}" for each in self.steps if each.state is not State.OK)


@dataclass(frozen=True)
class Result:
    """A cell that was run. ``key`` tells whether it still holds: see ``kept``. ``problem`` stops a whole cell."""

    release: str
    mode: str
    key: str
    utc: str
    seconds: float
    sha256: dict[str, str]
    arms: tuple[Arm, ...]
    problem: str = ""

    @property
    def state(self) -> State:
        """The worst of its arms."""
        return State.FAILED if self.problem else worst(each.state for each in self.arms)

    def to_json(self) -> dict[str, Any]:
        """The fields, with the states of arms and cell beside them."""
        document = {"schema": SCHEMA, **asdict(self), "state": self.state}
        for written, arm in zip(document["arms"], self.arms, strict=True):
            written |= {"state": arm.state, "reason": arm.reason}
        return document


def worst(states: Iterable[State]) -> State:
    """FAILED before REFUSED before OK."""
    return max(states, key=list(State).index, default=State.OK)


def result_from_json(document: dict[str, Any]) -> Result:
    """The other way. Raises ValueError, KeyError, TypeError for what is no such document."""
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']}, not {SCHEMA}")
    arms = tuple(
        Arm(arm["name"], tuple(Step(s["name"], State(s["state"]), s["said"], s["seconds"]) for s in arm["steps"]))
        for arm in document["arms"]
    )
    return Result(
        document["release"],
        document["mode"],
        document["key"],
        document["utc"],
        document["seconds"],
        document["sha256"],
        arms,
        document["problem"],
    )
