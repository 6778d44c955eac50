"""Real plans made wrong on purpose: change lines of a stub's assembly and place it again."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from patcher.edit.edit import Code, Edit, Plan
from patcher.isa.amd64.isa import AMD64
from patcher.isa.instruction import Kind
from patcher.isa.isa import Isa

Change = tuple[str, str]
_COMMENTS = {"amd64": "#", "arm64": "//"}


@dataclass
class Line:
    """One line of assembly as the strategy wrote it, with the pieces that stand in its place."""

    text: str
    address: int
    pieces: list[str]


def altered(plan: Plan, *changes: Change, isa: Isa = AMD64) -> Plan:
    """The plan with lines changed: each change is (line, pieces), pieces separated by ";", none to delete the line.

    A line is named by its instruction without its comment, blanks as one; ``#2`` behind it means its second
    occurrence. Jumps between the runs of code follow what moves. The result has room, or this is an AssertionError.
    """
    listings = [_listing(isa, edit, code) for edit, code in zip(plan.edits, plan.code, strict=False)]
    lines = [line for listing in listings for line in listing]
    for named, pieces in changes:
        _find(lines, named).pieces = [each.strip() for each in pieces.split(";") if each.strip()]
    moved: dict[int, int] = {}
    for _ in range(4):  # a jump's length depends on where it goes; this settles in one or two rounds
        moved = {old: new for listing in listings for old, new in _places(isa, listing, moved).items()}
    edits, runs = list(plan.edits), list(plan.code)
    for index, listing in enumerate(listings):
        edits[index], runs[index] = _placed(isa, edits[index], listing, moved)
    return replace(plan, edits=tuple(edits), code=tuple(runs))


def widened(plan: Plan, end: int, isa: Isa = AMD64) -> Plan:
    """The plan with its first edit reaching to ``end``, so that a longer stub fits."""
    first = plan.edits[0]
    size = end - first.address
    filler = isa.trap * ((size - len(first.new)) // len(isa.trap))
    wide = replace(first, old=first.old + filler, new=first.new + filler)
    return replace(plan, edits=(wide, *plan.edits[1:]))


def _listing(isa: Isa, edit: Edit, code: Code) -> list[Line]:
    texts = [" ".join(each.split(_COMMENTS[isa.name])[0].split()) for each in edit.assembly.splitlines()]
    addresses = iter([each.address for each in isa.decode(edit.new[: code.end - code.start], code.start)])
    lines: list[Line] = []
    labels: list[str] = []
    for text in filter(None, texts):
        if text.endswith(":"):
            labels.append(text)
            continue
        lines.append(Line(text, next(addresses), [text]))
        if labels:  # a label stays in front of its instruction, whatever becomes of that
            lines[-1:-1] = [Line(each, lines[-1].address, [each]) for each in labels]
            labels.clear()
    assert next(addresses, None) is None
    assert not labels
    return lines


def _find(lines: Sequence[Line], named: str) -> Line:
    occurrence = re.search(r"(?<! )#(\d+)$", named)  # an immediate has a blank before it
    text = named[: occurrence.start()] if occurrence else named
    found = [each for each in lines if each.text == " ".join(text.split())]
    assert len(found) == 1 or occurrence, f"{named!r} stands {len(found)} times in the stub"
    return found[int(occurrence[1]) - 1 if occurrence else 0]


def _source(listing: Sequence[Line], moved: Mapping[int, int]) -> str:
    pieces = [piece for line in listing for piece in line.pieces]
    return "\n".join(_relocated(piece, moved) for piece in pieces)


def _relocated(piece: str, moved: Mapping[int, int]) -> str:
    if not re.match(r"j|call", piece):
        return piece
    return re.sub("0x[0-9a-f]+", lambda found: hex(moved.get(int(found[0], 16), int(found[0], 16))), piece)


def _places(isa: Isa, listing: Sequence[Line], moved: Mapping[int, int]) -> dict[int, int]:
    """Old address → new address of each line."""
    start = listing[0].address
    code = isa.assemble(_source(listing, moved), start)
    addresses = [each.address for each in isa.decode(code, start)] + [start + len(code)]
    places: dict[int, int] = {}
    index = 0
    for line in listing:
        places.setdefault(line.address, addresses[index])
        index += sum(not piece.endswith(":") for piece in line.pieces)
    assert index == len(addresses) - 1
    return places


def _placed(isa: Isa, edit: Edit, listing: Sequence[Line], moved: Mapping[int, int]) -> tuple[Edit, Code]:
    code = isa.assemble(_source(listing, moved), edit.address)
    in_padding = not any(edit.old)
    size = max(len(code), len(edit.new)) if in_padding else len(edit.new)
    assert len(code) <= size, f"the changed stub needs {len(code)} bytes, {size} are there"
    last = list(isa.decode(code, edit.address))[-1].kind
    filler = isa.trap if last in (Kind.JUMP, Kind.RETURN) else isa.nop  # as replace_run fills
    new = code + filler * ((size - len(code)) // len(filler))
    changed = replace(edit, old=edit.old.ljust(size, b"\0"), new=new, assembly=_source(listing, moved))
    return changed, Code(edit.address, edit.address + len(code))
