"""The bytes of each wait as they can stand in memory: stock's, a stub's, or half rewritten. The child's work."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nanonap.base.errors import UsageError
from patcher.edit.edit import Edit
from patcher.edit.moves import Table
from patcher.edit.room import Room
from patcher.errors import ShapeMismatch
from patcher.golang.functions import Functions
from patcher.live.errors import BreakpointSet, CannotStage, MemoryUnknown
from patcher.live.script import PAGE, Write
from patcher.strategies.netpoll import NAME, amd64
from patcher.strategies.netpoll.amd64_cave import JUMP, Cave, cave_of, laid
from patcher.strategies.netpoll.amd64_moves import table_of
from patcher.strategies.netpoll.amd64_site import Site, locate
from patcher.strategies.netpoll.moves_proof import Code
from patcher.strategies.strategy import Codes
from patcher.wait import Wait, check_wait

_CODES = Codes(f"{NAME} in a running process", {"amd64": amd64})
Read = Callable[[int, int], bytes]  # (address as linked, size): what the process has there


@dataclass(frozen=True)
class Spot:
    """One wait: ``[low, high)`` holds all its bytes that change; ``cave`` only where these lie in two pages."""

    site: Site
    low: int
    high: int
    stock: bytes
    cave: Cave | None

    @property
    def crosses(self) -> bool:
        """Whether no single write can change it at once."""
        return self.low // PAGE != (self.high - 1) // PAGE


@dataclass(frozen=True)
class Present:
    """How one wait stands. ``state``: "stock", "injected" or "staged". ``caved``: the code beside lies in memory."""

    spot: Spot
    state: str
    bytes: bytes
    caved: bool = False
    wait: Wait | None = None
    table: Table = field(default_factory=lambda: Table([], [], {}))

    @property
    def code(self) -> Code:
        """For the emulator. Half rewritten, what S leads to asks as stock does."""
        return Code(tuple(overlay(self.spot, self.bytes, self.caved)), self.wait if self.state == "injected" else None)


def overlay(spot: Spot, window: bytes, caved: bool) -> Iterator[Edit]:
    """What lies over the image's bytes, as edits."""
    if window != spot.stock:
        yield laid(spot.low, spot.stock, window)
    if caved and spot.cave:
        yield laid(spot.cave.address, bytes(len(spot.cave.code)), spot.cave.code)


def spots_of(functions: Functions) -> list[Spot]:
    """Every wait of the program. Raises as ``locate``, and UnsupportedGo for an instruction set that is not known."""
    _CODES.of(functions)
    found: list[Spot] = []
    used = 0
    for site in locate(functions):
        low, high = min(each.start for each in site.runs), max(each.end for each in site.runs)
        spot = Spot(site, low, high, functions.image.read(low, high - low), None)
        if spot.crosses and (cave := cave_of(functions, site, used)) is not None:
            spot = Spot(site, low, high, spot.stock, cave)
            padding = functions.image.padding
            used = cave.end - padding.address if padding else 0
        found.append(spot)
    return found


def check_stageable(functions: Functions, spot: Spot) -> None:
    """Raises CannotStage where the code crosses a page and cannot be rewritten by whole steps."""
    if not spot.crosses:
        return
    name, way_out = spot.site.call.name, "patch the file and restart the program"
    for entry in (spot.site.start, spot.site.retry):
        if entry // PAGE != (entry + JUMP - 1) // PAGE:
            raise CannotStage(
                f"{functions.image.path}: the jump into {name} would cross a page boundary, at {entry:#x}: {way_out}"
            )
    if spot.cave is None:
        free = functions.image.padding.size if functions.image.padding else 0
        raise CannotStage(
            f"{functions.image.path}: {name} lies in two pages, and the {free} free bytes behind the code are too few "
            f"for the code that must run there meanwhile: {way_out}"
        )


def stub_of(functions: Functions, spot: Spot, wait: Wait) -> bytes:
    """The wait's bytes with the stub of these options. Raises ShapeMismatch where it does not fit."""
    window = bytearray(spot.stock)
    starts = {each.start for each in spot.site.runs}
    for edit in amd64.plan(functions, Room(functions.image), wait).edits:
        if edit.address in starts:
            window[edit.address - spot.low : edit.end - spot.low] = edit.new
    return bytes(window)


def present_of(functions: Functions, spot: Spot, read: Read) -> Present:
    """How a wait stands in memory. Raises BreakpointSet or MemoryUnknown for what nothing of ours left there."""
    window, caved = read(spot.low, spot.high - spot.low), False
    if spot.cave is not None:
        beside = read(spot.cave.address, len(spot.cave.code))
        caved = beside == spot.cave.code
        if not caved and any(beside):
            raise MemoryUnknown(
                f"{functions.image.path}: the free bytes behind the code, at {spot.cave.address:#x}, hold something in "
                "memory: another tool has put code there; restart the program, then try again"
            )
    state, wait = _state(functions, spot, window, caved)
    present = Present(spot, state, window, caved, wait)
    return Present(spot, state, window, caved, wait, _table(functions, present))


def _state(functions: Functions, spot: Spot, window: bytes, caved: bool) -> tuple[str, Wait | None]:
    if window == spot.stock:
        return "stock", None
    wait = _wait_in(functions, spot, window)
    if wait is not None and stub_of(functions, spot, wait) == window:
        return "injected", wait
    if caved and spot.cave and window[:JUMP] == spot.cave.to_start:
        return "staged", None
    name = f"{functions.image.path}: {spot.site.call.name}"
    trap = functions.image.isa.trap[0]
    for known in (spot.stock, stub_of(functions, spot, Wait())):
        differing = [at for at, (one, two) in enumerate(zip(window, known, strict=True)) if one != two]
        if all(window[at] == trap for at in differing):
            raise BreakpointSet(
                f"{name} has a breakpoint or a uprobe at {spot.low + differing[0]:#x} in memory: remove it (perf "
                "probe, or the debugger), then try again"
            )
    raise MemoryUnknown(
        f"{name} in memory is neither as in the file nor as this version changes it: use the version that changed "
        "it, or restart the program"
    )


def _wait_in(functions: Functions, spot: Spot, window: bytes) -> Wait | None:
    """The options by the operands of what may be a stub; None for what cannot be one's."""
    instructions = []
    for run in spot.site.runs:
        instructions += list(functions.image.isa.decode(window[run.start - spot.low : run.end - spot.low], run.start))
    wait = amd64.wait_in(instructions)
    try:
        check_wait(NAME, wait)
        stub_of(functions, spot, wait)
    except (UsageError, ShapeMismatch):
        return None
    return wait


def _table(functions: Functions, present: Present) -> Table:
    spot = present.spot
    at = spot.site.retry - spot.low
    at_retry = present.bytes[at : at + JUMP]
    stays = at_retry == spot.stock[at : at + JUMP] or (spot.cave is not None and at_retry == spot.cave.to_retry)
    cave = (spot.cave.address, spot.cave.end) if spot.cave and present.caved else None
    edits = list(overlay(spot, present.bytes, present.caved))
    return table_of(functions, spot.site, edits, stays_at_retry=stays, cave=cave)


def writes_to(present: Present, target: bytes) -> list[Write]:
    """How memory comes to the target: each write lies in one page, and behind each the code is whole.

    For that every thread must stand outside the code, or at S or R.
    """
    spot, cave = present.spot, present.spot.cave
    clear = [Write(cave.address, bytes(len(cave.code)))] if cave and present.caved else []
    if present.bytes == target:
        return clear
    if cave is None or not spot.crosses:
        return [Write(spot.low, target)]
    start, retry = spot.site.start, spot.site.retry
    entries = [(start, cave.to_start), (retry, cave.to_retry)]
    return [
        *([] if present.caved else [Write(cave.address, cave.code)]),
        *(Write(at, jump) for at, jump in entries),
        *_bodies(spot, target),
        *(Write(at, target[at - spot.low : at - spot.low + JUMP]) for at in (retry, start)),
        Write(cave.address, bytes(len(cave.code))),
    ]


def _bodies(spot: Spot, target: bytes) -> Iterator[Write]:
    """All but the entries' first bytes, cut at the pages' ends."""
    first, second = sorted((spot.site.start, spot.site.retry))
    for low, high in ((spot.low, first), (first + JUMP, second), (second + JUMP, spot.high)):
        at = low
        while at < high:
            end = min(high, (at // PAGE + 1) * PAGE)
            yield Write(at, target[at - spot.low : end - spot.low])
            at = end


def images_of(present: Present, writes: list[Write]) -> Iterator[Present]:
    """Memory behind each write, as whoever is killed there leaves it."""
    window, caved = bytearray(present.bytes), present.caved
    for each in writes:
        if present.spot.low <= each.address < present.spot.high:
            window[each.address - present.spot.low : each.address - present.spot.low + len(each.new)] = each.new
        else:
            caved = any(each.new)
        yield Present(present.spot, "staged", bytes(window), caved)
