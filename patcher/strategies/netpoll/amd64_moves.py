"""The moves of ``standing.py`` for x86-64, where a stub has all of the wait, from S to J, the call as well."""

from collections.abc import Sequence
from dataclasses import replace

from patcher.edit.edit import Edit
from patcher.edit.moves import Move, Place, Table
from patcher.errors import ShapeMismatch
from patcher.golang.functions import Functions
from patcher.isa.amd64.shape import family, on_stack
from patcher.isa.instruction import Instruction, Kind, Mem
from patcher.strategies.netpoll.amd64_layout import JUMP
from patcher.strategies.netpoll.amd64_site import Site
from patcher.strategies.netpoll.amd64_values import RESULT
from patcher.strategies.netpoll.cave import Cave
from patcher.strategies.netpoll.standing import Known, Standing

_POINTER = 8


class _Standing(Standing):
    def after(self, each: Instruction, before: Known) -> Known:
        """As ``Standing.after``."""
        if each.kind in (Kind.SYSTEM_CALL, Kind.CALL):
            return replace(before, answered=True, lost=False)
        slots = set(before.slots)
        if each.mnemonic == "mov" and on_stack(each.operands[0]):
            slots |= self.site.kept & {each.memory(0).displacement}
        loads = each.mnemonic == "mov" and on_stack(each.operands[-1], 4) and each.memory(1).displacement == RESULT
        written = self.functions.image.isa.flow(self.site.function.name, ()).written(each)
        spoils = before.answered and "a" in written and not loads
        # A PIE before Go 1.21 loads the offset of g into g's register, then g from there.
        away = not _loads_g(each) if "r14" in written else before.away
        return replace(before, slots=frozenset(slots), lost=before.lost or spoils, away=away)


def _loads_g(each: Instruction) -> bool:
    source = each.operands[-1]
    return each.mnemonic == "mov" and isinstance(source, Mem) and source.segment == "fs"


def table_of(functions: Functions, site: Site, laid: Sequence[Edit], cave: Cave | None) -> Table:
    """The moves out of a wait's code, stock with ``laid`` over it. Raises ShapeMismatch where there can be none.

    ``cave``: where code stands for the wait while its own is rewritten.
    """
    ranges = [*site.spans, *([(cave.address, cave.end)] if cave else [])]
    standing = _Standing(functions, site, laid, ranges)
    known = standing.followed({site.start: Known(), site.retry: Known(site.kept)})
    places = standing.places(known)
    # Where nothing within the code goes to R, a thread there has come from the test alone.
    at_retry = standing.bytes(site.retry, JUMP)
    stays = at_retry == functions.image.read(site.retry, JUMP) or (cave and (site.retry, at_retry) in cave.entries)
    stay = [site.start, site.retry] if stays else [site.start]
    for each in stay:
        places.pop(each, None)
    if cave and cave.address in known:
        places[cave.address] = Place(always=Move(site.start))  # all is as at S, which is a jump to here
    table = Table(ranges=ranges, stay=stay, places=places)
    called = [standing.at(each) for each in known if standing.at(each).kind is Kind.CALL]
    return _with_callee(functions, site, table, called)


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
    standing = _Standing(functions, site, (), [(callee.start, callee.end)], {each.address: each for each in code})
    places = standing.places(standing.followed({callee.start: Known(site.kept)}), _POINTER)
    return Table(table.ranges, table.stay, table.places, (callee.start, callee.end), calls[0].end, places)


def _moves_stack(each: Instruction) -> bool:
    named = bool(each.operands) and each.mnemonic != "cmp" and family(each.operands[0]) == "sp"
    return named or each.mnemonic in ("push", "pop", "call", "leave", "enter")
