"""Where a thread that stands in a wait's code can be put, so that the code may be another when it goes on.

Three states are legal in stock and in every stub: at the start S with the delay in its register; at the retry R, come
from the test of the milliseconds; at the join J with a result. So every move goes to S or J: to S before a system call
was answered, with the delay from its slot; to J after, with the answer, so that no event is lost and nothing is waited
for twice. A call that was interrupted is handed on as such: netpoll's caller then looks at the clock anew. A refusal
goes to S: nothing was waited for. Where the delay has no slot, J as if interrupted says the same.

What holds at a PC is followed through the code, as what holds on every way there; the proof runs each move.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from patcher.edit.edit import Edit
from patcher.edit.moves import EINTR, Move, Place, Table
from patcher.errors import ShapeMismatch
from patcher.golang.functions import Functions
from patcher.isa.amd64.shape import family, on_stack
from patcher.isa.instruction import Instruction, Kind, Mem
from patcher.strategies.netpoll.amd64_site import Site
from patcher.strategies.netpoll.amd64_values import RESULT

_POINTER = 8
_LONGEST = 15  # bytes of an instruction
_ENDS = (Kind.JUMP, Kind.RETURN, Kind.TRAP)


@dataclass(frozen=True)
class _Known:
    """What holds before an instruction: the slots that are filled, and whether a system call's answer is there."""

    slots: frozenset[int] = frozenset()
    answered: bool = False
    lost: bool = False  # ways meet that differ, or the answer's register was written
    away: bool = False  # g's register holds something else

    def met(self, other: "_Known") -> "_Known":
        lost = self.lost or other.lost or self.answered != other.answered
        return _Known(self.slots & other.slots, self.answered, lost, self.away or other.away)


@dataclass
class Standing:
    """The code of one wait as it stands: the image's bytes with ``laid`` over them, in ``ranges``."""

    functions: Functions
    site: Site
    laid: Sequence[Edit]
    ranges: Sequence[tuple[int, int]]
    decoded: dict[int, Instruction] = field(default_factory=dict)

    def at(self, address: int) -> Instruction:
        """The instruction that a thread at an address runs next. Raises ShapeMismatch where there is none."""
        if address not in self.decoded:
            image = self.functions.image
            laid = next((each for each in self.laid if each.address <= address < each.end), None)
            code = image.read(address, _LONGEST) if laid is None else laid.new[address - laid.address :][:_LONGEST]
            found = next(iter(image.isa.decode(code, address)), None)
            if found is None:
                raise ShapeMismatch(f"{self.site.call.name}: expected an instruction at {address:#x}, found none")
            self.decoded[address] = found
        return self.decoded[address]

    def inside(self, address: int) -> bool:
        """Whether an address lies in the code that changes."""
        return any(low <= address < high for low, high in self.ranges)

    def followed(self, start: dict[int, _Known]) -> dict[int, _Known]:
        """What holds before each instruction that is reached; at the entries of ``start`` that is known."""
        known, todo = dict(start), list(start)
        while todo:
            at = todo.pop()
            after = self._after(self.at(at), known[at])
            for each in _ways(self.at(at)):
                if not self.inside(each) or each in start:
                    continue
                met = known[each].met(after) if each in known else after
                if known.get(each) != met:
                    known[each] = met
                    todo.append(each)
        return known

    def _after(self, each: Instruction, before: _Known) -> _Known:
        if each.kind in (Kind.SYSTEM_CALL, Kind.CALL):
            return replace(before, answered=True, lost=False)
        slots = set(before.slots)
        if each.mnemonic == "mov" and on_stack(each.operands[0]):
            slots |= {spill.slot for spill in self.site.spills if each.memory(0).displacement == spill.slot}
        loads = each.mnemonic == "mov" and on_stack(each.operands[-1], 4) and each.memory(1).displacement == RESULT
        written = self.functions.image.isa.flow(self.site.function.name, ()).written(each)
        spoils = before.answered and "a" in written and not loads
        # A PIE before Go 1.21 loads the offset of g into g's register, then g from there.
        away = not _loads_g(each) if "r14" in written else before.away
        return replace(before, slots=frozenset(slots), lost=before.lost or spoils, away=away)


def _loads_g(each: Instruction) -> bool:
    source = each.operands[-1]
    return each.mnemonic == "mov" and isinstance(source, Mem) and source.segment == "fs"


def _ways(each: Instruction) -> list[int]:
    ways = [each.target] if each.is_branch and each.target is not None else []
    return ways if each.kind in _ENDS else [*ways, each.end]


def table_of(
    functions: Functions, site: Site, laid: Sequence[Edit], *, stays_at_retry: bool, cave: tuple[int, int] | None = None
) -> Table:
    """The moves out of a wait's code, stock with ``laid`` over it. Raises ShapeMismatch where there can be none.

    ``stays_at_retry``: nothing within the code goes to R, so a thread there has come from the test alone. ``cave``:
    where code may stand for the wait while its own is rewritten: ``[start, end)``.
    """
    ranges = [(run.start, run.end) for run in site.runs] + ([cave] if cave else [])
    standing = Standing(functions, site, laid, ranges)
    filled = frozenset(each.slot for each in site.spills)
    known = standing.followed({site.start: _Known(), site.retry: _Known(filled)})
    places = {at: place for at, each in known.items() if (place := _place(site, each)).proven}
    stay = [site.start, site.retry] if stays_at_retry else [site.start]
    for each in stay:
        places.pop(each, None)
    if cave and cave[0] in known:
        places[cave[0]] = Place(always=Move(site.start))  # all is as at S, which is a jump to here
    table = Table(ranges=ranges, stay=stay, places=places)
    called = [standing.at(each) for each in known if standing.at(each).kind is Kind.CALL]
    return _with_callee(functions, site, table, called)


def _place(site: Site, known: _Known, pop: int = 0) -> Place:
    if known.lost or known.away:
        return Place()
    again = _again(site, known, pop)
    if not known.answered:
        return Place(always=again)
    return Place(done=_result(site, 0, pop), interrupted=_result(site, EINTR, pop), otherwise=again)


def _again(site: Site, known: _Known, pop: int) -> Move | None:
    """To S by the delay's slot; where it has none, to J, as if a signal had come."""
    delay = next((each.slot for each in site.spills if each.what == "delay"), None)
    if delay is not None:
        return Move(site.start, load={site.delay: delay}, pop=pop) if delay in known.slots else None
    if not {each.slot for each in site.spills} <= known.slots:
        return None
    return Move(site.join, set={**_result(site, EINTR, pop).set, "rax": -EINTR}, pop=pop)


def _result(site: Site, error: int, pop: int) -> Move:
    """To J: the result is in eax already, the error in its register, where it has one."""
    return Move(site.join, set={site.error: error} if site.error else {}, pop=pop)


def _with_callee(functions: Functions, site: Site, table: Table, called: Sequence[Instruction]) -> Table:
    """The moves out of what is called to wait, where that returns into the code that changes."""
    calls = [each for each in called if any(low <= each.end < high for low, high in table.ranges)]
    if not calls:
        return table
    callee = None if calls[0].target is None else functions.table.at(calls[0].target)
    if len(calls) > 1 or callee is None or site.call.callee != "epollwait":
        raise ShapeMismatch(
            f"{site.call.name}: expected the call to return to {site.join:#x}, found instructions between, which a "
            "running process's thread cannot be moved out of; patch the file"
        )
    code = functions.instructions(callee)
    if any(_moves_stack(each) for each in code):
        raise ShapeMismatch(f"{callee.name}: expected a function without a frame; patch the file")
    standing = Standing(functions, site, (), [(callee.start, callee.end)], {each.address: each for each in code})
    known = standing.followed({callee.start: _Known(frozenset(each.slot for each in site.spills))})
    places = {at: place for at, each in known.items() if (place := _place(site, each, _POINTER)).proven}
    return Table(table.ranges, table.stay, table.places, (callee.start, callee.end), calls[0].end, places)


def _moves_stack(each: Instruction) -> bool:
    named = bool(each.operands) and each.mnemonic != "cmp" and family(each.operands[0]) == "sp"
    return named or each.mnemonic in ("push", "pop", "call", "leave", "enter")
