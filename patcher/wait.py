"""What strategy ``netpoll`` may do with a wait beside asking for it precisely: round it up, or spin at its end."""

from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from nanonap.base.errors import UsageError

LEAST_SPIN_NS = 1000  # a system call takes about that
MOST_QUANTUM_NS = 4 * 10**9
MOST_NS = (1 << 31) - 1  # of what is compared or subtracted: the instructions take an int32

#: About what a wake-up from an idle processor takes: less leaves some of it, more costs CPU time and gains nothing.
RECOMMENDED_SPIN_NS = 40_000
#: For programs with many timers, together: at most 1,111 wake-ups a second where deadlines are dense, which costs what
#: stock does, and the precision of a few sleepers where they are not (`invoke experiment rival`, docs/cost.md).
RECOMMENDED_QUANTUM_NS = 900_000
RECOMMENDED_DENSE_NS = 32_768

FIELDS = ("quantum_ns", "dense_ns", "spin_ns")
_WORDS = {"quantum_ns": "a quantum", "dense_ns": "a limit for dense waits", "spin_ns": "a time to spin"}


class WaitFields(TypedDict):
    """A wait as a manifest writes it."""

    quantum_ns: int | None
    dense_ns: int | None
    spin_ns: int | None


@dataclass(frozen=True)
class Wait:
    """The opt-ins of ``netpoll``; None: not asked for.

    With ``quantum_ns`` a wait shorter than ``dense_ns`` (by default: than the quantum) lasts the quantum. With
    ``spin_ns`` a wait ends that much early and the scheduler polls for what is left.
    """

    quantum_ns: int | None = None
    dense_ns: int | None = None
    spin_ns: int | None = None

    @property
    def asked(self) -> bool:
        """Whether any of the three is set."""
        return self != PRECISE

    @property
    def suffix(self) -> str:
        """For a file's or an arm's name: ``+quantum500000+dense32768``, ``+spin60000``, or nothing."""
        parts = (("quantum", self.quantum_ns), ("dense", self.dense_ns), ("spin", self.spin_ns))
        return "".join(f"+{name}{value}" for name, value in parts if value is not None)

    @property
    def given(self) -> dict[str, int | None]:
        """The same fields as a plain dictionary."""
        return asdict(self)

    def to_json(self) -> WaitFields:
        """``{"quantum_ns": …, "dense_ns": …, "spin_ns": …}``."""
        return {"quantum_ns": self.quantum_ns, "dense_ns": self.dense_ns, "spin_ns": self.spin_ns}


PRECISE = Wait()


def wait_of(document: dict[str, Any]) -> Wait:
    """The fields of a JSON document; what it does not name was not asked for. Raises ValueError or TypeError.

    A wait that could not have been asked for is a ValueError, too: nobody is to plan a patch by it.
    """
    values = {name: document.get(name) for name in FIELDS}
    wait = Wait(**{name: None if value is None else int(value) for name, value in values.items()})
    try:
        check_wait("netpoll", wait)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return wait


def check_wait(strategy: str, wait: Wait) -> None:
    """Raises UsageError for options that the strategy does not have, that exclude each other, or are out of range."""
    if not wait.asked:
        return
    if strategy != "netpoll":
        name, value = next((name, getattr(wait, name)) for name in FIELDS if getattr(wait, name) is not None)
        raise UsageError(
            f"{_WORDS[name]} of {value} ns: only strategy netpoll has one, not {strategy}", parameters=(name,)
        )
    if wait.quantum_ns is not None and wait.spin_ns is not None:
        raise UsageError(
            "a time to spin and a quantum exclude each other: the quantum would lengthen each short wait before a "
            "deadline; choose one",
            parameters=("spin_ns", "quantum_ns"),
        )
    if wait.dense_ns is not None and wait.quantum_ns is None:
        raise UsageError(
            f"{_WORDS['dense_ns']} of {wait.dense_ns} ns says which waits last a quantum; give the quantum, too",
            parameters=("dense_ns", "quantum_ns"),
        )
    _in_range("quantum_ns", wait.quantum_ns, 1, MOST_QUANTUM_NS)
    _in_range("dense_ns", wait.dense_ns, 1, MOST_NS)
    _in_range("spin_ns", wait.spin_ns, LEAST_SPIN_NS, MOST_NS)
    if wait.dense_ns is not None and wait.quantum_ns is not None and wait.dense_ns > wait.quantum_ns:
        raise UsageError(
            f"{_WORDS['dense_ns']} of {wait.dense_ns} ns: must be at most the quantum ({wait.quantum_ns} ns), "
            "else a longer wait would be cut short",
            parameters=("dense_ns", "quantum_ns"),
        )


def _in_range(name: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise UsageError(
            f"{_WORDS[name]} of {value} ns: must be at least {least} and at most {most} ns", parameters=(name,)
        )
