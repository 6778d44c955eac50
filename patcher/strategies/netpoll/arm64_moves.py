"""The moves of ``standing.py`` for AArch64, where a stub has the conversion of the delay alone, and its own call.

Stock's call, R and J lie outside: a thread there, or in what is called there, stays.
"""

from collections.abc import Sequence
from dataclasses import replace

from patcher.edit.edit import Edit
from patcher.edit.moves import Move, Place, Table
from patcher.golang.functions import Functions
from patcher.isa.arm64.abi import ABI
from patcher.isa.instruction import Instruction, Kind
from patcher.strategies.netpoll.arm64_site import Site
from patcher.strategies.netpoll.arm64_values import in_frame
from patcher.strategies.netpoll.cave import Cave
from patcher.strategies.netpoll.standing import Known, Standing


class _Standing(Standing):
    def after(self, each: Instruction, before: Known) -> Known:
        """As ``Standing.after``."""
        if each.kind is Kind.SYSTEM_CALL:
            return replace(before, answered=True, lost=False, delay=False)
        if before.answered and each.kind is Kind.CONDITIONAL_JUMP and each.target == self.site.join:
            return replace(before, answered=False)  # what is left is a refusal
        slots = set(before.slots)
        if each.mnemonic in ("str", "stp") and in_frame(each.operands[-1]):
            memory = each.memory(len(each.operands) - 1)
            slots |= self.site.kept & {memory.displacement + n * memory.size for n in range(len(each.operands) - 1)}
        written = self.functions.image.isa.flow(self.site.function.name, ()).written(each)
        spoils = before.answered and ABI.system_result in written
        away = before.away or ABI.goroutine in written
        delay = before.delay and self.site.delay not in written
        return replace(before, slots=frozenset(slots), lost=before.lost or spoils, away=away, delay=delay)


def table_of(functions: Functions, site: Site, laid: Sequence[Edit], cave: Cave | None) -> Table:
    """The moves out of a wait's code, stock with ``laid`` over it. Raises ShapeMismatch where there can be none.

    ``cave``: where code stands for the wait while its own is rewritten.
    """
    ranges = [*site.spans, *([(cave.address, cave.end)] if cave else [])]
    standing = _Standing(functions, site, laid, ranges)
    known = standing.followed({site.start: Known(delay=True)})
    places = standing.places(known)
    places.pop(site.start, None)
    if cave and cave.address in known:
        places[cave.address] = Place(always=Move(site.start))  # all is as at S, which is a jump to here
    return Table(ranges=ranges, stay=[site.start], places=places)
