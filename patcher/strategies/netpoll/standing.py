"""Where a thread that stands in a wait's code can be put, so that the code may be another when it goes on.

Three states are legal in stock and in every stub: at the start S with the delay in its register; at the retry R, come
from the test of the milliseconds; at the join J with a result. So every move goes to S or J: to S before a system call
was answered, with the delay from its slot; to J after, with the answer, so that no event is lost and nothing is waited
for twice. A call that was interrupted is handed on as such: netpoll's caller then looks at the clock anew. A refusal
goes to S: nothing was waited for. Where the delay has no slot, J as if interrupted says the same.

What holds at a PC is followed through the code, as what holds on every way there; the proof runs each move.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from patcher.edit.edit import Edit
from patcher.edit.moves import EINTR, Move, Place
from patcher.errors import ShapeMismatch
from patcher.golang.functions import Functions
from patcher.isa.instruction import Instruction, Kind
from patcher.strategies.netpoll.site import Site

_LONGEST = 15  # bytes of an instruction
_ENDS = (Kind.JUMP, Kind.RETURN, Kind.TRAP)


@dataclass(frozen=True)
class Known:
    """What holds before an instruction: the slots that are filled, and whether a system call's answer is there.

    ``delay``: it is surely still in its register.
    """

    slots: frozenset[int] = frozenset()
    answered: bool = False
    lost: bool = False  # ways meet that differ, or the answer's register was written
    away: bool = False  # g's register holds something else
    delay: bool = False

    def met(self, other: "Known") -> "Known":
        """What holds where ways meet."""
        lost = self.lost or other.lost or self.answered != other.answered
        away, delay = self.away or other.away, self.delay and other.delay
        return Known(self.slots & other.slots, self.answered, lost, away, delay)


@dataclass
class Standing(ABC):
    """The code of one wait as it stands: the image's bytes with ``laid`` over them, in ``ranges``."""

    functions: Functions
    site: Site
    laid: Sequence[Edit]
    ranges: Sequence[tuple[int, int]]
    decoded: dict[int, Instruction] = field(default_factory=dict)

    @abstractmethod
    def after(self, each: Instruction, before: Known) -> Known:
        """What holds behind an instruction of which it is known what holds before it."""

    def bytes(self, address: int, size: int) -> bytes:
        """Up to so many bytes at an address as they stand; fewer where what is laid there ends."""
        laid = next((each for each in self.laid if each.address <= address < each.end), None)
        return self.functions.image.read(address, size) if laid is None else laid.new[address - laid.address :][:size]

    def at(self, address: int) -> Instruction:
        """The instruction that a thread at an address runs next. Raises ShapeMismatch where there is none."""
        if address not in self.decoded:
            found = next(iter(self.functions.image.isa.decode(self.bytes(address, _LONGEST), address)), None)
            if found is None:
                raise ShapeMismatch(f"{self.site.call.name}: expected an instruction at {address:#x}, found none")
            self.decoded[address] = found
        return self.decoded[address]

    def inside(self, address: int) -> bool:
        """Whether an address lies in the code that changes."""
        return any(low <= address < high for low, high in self.ranges)

    def followed(self, start: dict[int, Known]) -> dict[int, Known]:
        """What holds before each instruction that is reached; at the entries of ``start`` that is known."""
        known, todo = dict(start), list(start)
        while todo:
            at = todo.pop()
            after = self.after(self.at(at), known[at])
            for each in _ways(self.at(at)):
                if not self.inside(each) or each in start:
                    continue
                met = known[each].met(after) if each in known else after
                if known.get(each) != met:
                    known[each] = met
                    todo.append(each)
        return known

    def places(self, known: dict[int, Known], pop: int = 0) -> dict[int, Place]:
        """Where a thread can be put from each of these, with ``pop`` bytes taken off its stack."""
        return {at: place for at, each in known.items() if (place := self._place(each, pop)).proven}

    def _place(self, known: Known, pop: int) -> Place:
        if known.lost or known.away:
            return Place()
        again = self._again(known, pop)
        if not known.answered:
            return Place(always=again)
        return Place(done=self._result(0, pop), interrupted=self._result(EINTR, pop), otherwise=again)

    def _again(self, known: Known, pop: int) -> Move | None:
        """To S, by the delay's slot or register; where it has no slot, to J, as if a signal had come."""
        site = self.site
        if site.delay_slot is not None:
            if site.delay_slot in known.slots:
                return self.to_start({site.delay: site.delay_slot}, pop)
            return self.to_start({}, pop) if known.delay else None
        if not site.kept <= known.slots:
            return None
        result = self.functions.image.isa.abi.results[0]
        return Move(site.join, set={**self._result(EINTR, pop).set, result: -EINTR}, pop=pop)

    def to_start(self, load: dict[str, int], pop: int = 0) -> Move:
        """To S, with what the registers hold there beside the delay."""
        site = self.site
        read = {} if site.descriptor is None else {site.descriptor: site.epfd}
        return Move(site.start, load, read, dict(site.known), pop=pop)

    def _result(self, error: int, pop: int) -> Move:
        """To J: the result is in its register already, the error in its own, where it has one."""
        return Move(self.site.join, set={self.site.error: error} if self.site.error else {}, pop=pop)


def _ways(each: Instruction) -> list[int]:
    ways = [each.target] if each.is_branch and each.target is not None else []
    return ways if each.kind in _ENDS else [*ways, each.end]
