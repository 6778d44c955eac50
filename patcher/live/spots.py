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
from patcher.strategies.netpoll import NAME
from patcher.strategies.netpoll.cave import Cave, laid
from patcher.strategies.netpoll.live import LIVE
from patcher.strategies.netpoll.moves_proof import Code
from patcher.strategies.netpoll.site import Site
from patcher.wait import Wait, check_wait

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
    live = LIVE.of(functions)
    found: list[Spot] = []
    used = 0
    for site in live.code.locate(functions):
        low, high = min(low for low, _ in site.spans), max(high for _, high in site.spans)
        spot = Spot(site, low, high, functions.image.read(low, high - low), None)
        if spot.crosses and (cave := live.cave_of(functions, site, used)) is not None:
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
    for entry, size in spot.site.entries:
        if entry // PAGE != (entry + size - 1) // PAGE:
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
    starts = {start for start, _ in spot.site.spans}
    for edit in LIVE.of(functions).code.plan(functions, Room(functions.image), wait).edits:
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
    if caved and spot.cave and window.startswith(spot.cave.entries[0][1], spot.site.start - spot.low):
        return "staged", None
    name = f"{functions.image.path}: {spot.site.call.name}"
    breakpoints = functions.image.isa.breakpoints
    size = len(breakpoints[0])
    for known in (spot.stock, stub_of(functions, spot, Wait())):
        differing = [at for at in range(0, len(window), size) if window[at : at + size] != known[at : at + size]]
        if all(window[at : at + size] in breakpoints for at in differing):
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
    for low, high in spot.site.spans:
        instructions += list(functions.image.isa.decode(window[low - spot.low : high - spot.low], low))
    wait = LIVE.of(functions).code.wait_in(instructions)
    try:
        check_wait(NAME, wait)
        stub_of(functions, spot, wait)
    except (UsageError, ShapeMismatch):
        return None
    return wait


def _table(functions: Functions, present: Present) -> Table:
    spot = present.spot
    edits = list(overlay(spot, present.bytes, present.caved))
    return LIVE.of(functions).table_of(functions, spot.site, edits, spot.cave if present.caved else None)


def writes_to(present: Present, target: bytes) -> list[Write]:
    """How memory comes to the target: each write lies in one page, and behind each the code is whole.

    For that every thread must stand outside the code, or at an entry of it.
    """
    spot, cave = present.spot, present.spot.cave
    clear = [Write(cave.address, bytes(len(cave.code)))] if cave and present.caved else []
    if present.bytes == target:
        return clear
    if cave is None or not spot.crosses:
        return [Write(spot.low, target)]
    ends = [(at, target[at - spot.low :][: len(jump)]) for at, jump in reversed(cave.entries)]
    return [
        *([] if present.caved else [Write(cave.address, cave.code)]),
        *(Write(at, jump) for at, jump in cave.entries),
        *_bodies(spot, target),
        *(Write(at, new) for at, new in ends),
        Write(cave.address, bytes(len(cave.code))),
    ]


def _bodies(spot: Spot, target: bytes) -> Iterator[Write]:
    """All but the entries' first bytes, cut at the pages' ends."""
    entries = sorted(spot.site.entries)
    lows = (spot.low, *(at + size for at, size in entries))
    for low, high in zip(lows, (*(at for at, _ in entries), spot.high), strict=True):
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
