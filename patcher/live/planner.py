"""What is to be done with a process, by its program's file and its memory: the child's work, proven before it is told.

The child has the file and what the parent read of the memory; it looks at no process.
"""

from dataclasses import replace
from pathlib import Path

from patcher.edit.room import Room
from patcher.errors import (
    AlreadyPatched,
    AlreadyPrecise,
    FakeTime,
    InternalFault,
    ProofFailed,
    ShapeMismatch,
    UnsupportedGo,
)
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.isa.instruction import Kind
from patcher.live.errors import BreakpointSet, MemoryUnknown
from patcher.live.script import Looked, Script, SiteScript, Spans, Window
from patcher.live.spots import (
    Present,
    Read,
    check_stageable,
    images_of,
    present_of,
    spots_of,
    stub_of,
    writes_to,
)
from patcher.planning import prove_plan, refuse_unfit
from patcher.rewrite import check_edits
from patcher.strategies.netpoll import NAME
from patcher.strategies.netpoll.cave import laid
from patcher.strategies.netpoll.moves_proof import Code, prove_code, prove_moves
from patcher.strategies.strategy import Options
from patcher.wait import Wait, wait_of

_BUILD_ID = ".note.go.buildid"
_MOST_OF_A_NOTE = 256  # bytes
_NEW_CALLS = ("epoll_pwait2", "epoll_pwait")  # what a stub asks the kernel for by itself


Memory = list[tuple[int, str]]  # (address as linked, bytes in hex): what the process has there


def spans(path: Path, machine: str) -> Spans:
    """What of a process's memory must be known. Raises as ``planned`` for the program."""
    functions = _functions(path, machine)
    found: list[tuple[int, int]] = []
    for spot in spots_of(functions):
        found.append((spot.low, spot.high - spot.low))
        if spot.cave is not None:
            found.append((spot.cave.address, len(spot.cave.code)))
    return Spans(functions.image.entry, tuple(found))


def _functions(path: Path, machine: str) -> Functions:
    """Raises UnsupportedGo for a program that an emulator runs: its threads' registers are not the program's."""
    functions = Functions(read_image(path))
    refuse_unfit(functions)
    isa = functions.image.isa
    if isa.kernel != machine:
        raise UnsupportedGo(
            f"{path}: a program for linux/{isa.name}, run by an emulator on this machine ({machine}), which keeps the "
            "program's registers elsewhere: patch the file and restart the program"
        )
    return functions


def planned(path: Path, machine: str, memory: Memory, action: str, wait: dict[str, int | None] | None = None) -> Script:
    """The script for an ``action``: "inject" with the options ``wait``, "eject", or "look", which proves nothing.

    ``machine``: where the process runs, as uname(2) names it. Raises what is wrong with the program, or why its memory
    is not to be changed.
    """
    functions = _functions(path, machine)
    image = functions.image
    read = _reader(memory)
    spots = spots_of(functions)
    presents = [present_of(functions, each, read) for each in spots]
    proven = 0
    sites = []
    options = wait_of(wait or {})
    if action == "inject":
        plans, proof = prove_plan(functions, NAME, Room(image), Options(wait=options))
        check_edits(image, [edit for each in plans for edit in each.edits])
        proven += proof.passed
    for present in presents:
        if action == "look":
            sites.append(_looked_at(present))
            continue
        check_stageable(functions, present.spot)
        site, cases = _site_script(functions, present, options if action == "inject" else None)
        proven += cases
        sites.append(site)
    return Script(
        go=image.build.version,
        entry=image.entry,
        cgo=bool(functions.table.find("crosscall2")),  # as inspection says it
        checks=_checks(functions, presents),
        sites=sites,
        new_syscalls=["epoll_pwait2"] if action == "inject" else [],
        calls={name: image.isa.system_calls[name] for name in _NEW_CALLS},
        asks=[each for present, site in zip(presents, sites, strict=True) for each in _asks(functions, present, site)],
        proven=proven,
    )


def looked(path: Path, machine: str, memory: Memory) -> Looked:
    """How a process's program stands, for ``status``: its release, then its waits, or why there is nothing to do.

    Without ``memory`` of what the program's own file says alone, and what of the memory must be known.
    """
    told = Looked(read_image(path).build.version, "unfit", None, {})
    try:
        if not memory:
            return replace(told, spans=spans(path, machine))
        script = planned(path, machine, memory, "look")
    except AlreadyPatched:
        return replace(told, state="patched by file")
    except AlreadyPrecise:
        return replace(told, state="precise by itself")
    except (ShapeMismatch, UnsupportedGo, FakeTime, MemoryUnknown, BreakpointSet) as error:
        return replace(told, reason=str(error))
    states = {each.state for each in script.sites}
    state = states.pop() if len(states) == 1 else "staged"
    return replace(told, state=state, options=script.sites[0].options)


def _reader(memory: Memory) -> Read:
    known = {address: bytes.fromhex(text) for address, text in memory}

    def read(address: int, size: int) -> bytes:
        if len(known.get(address, b"")) != size:
            raise InternalFault(f"{size} bytes at {address:#x} were not read from the process; please report this")
        return known[address]

    return read


def _looked_at(present: Present) -> SiteScript:
    window = Window(present.spot.low, present.bytes, present.bytes)
    return SiteScript(
        present.spot.site.call.name, present.state, present.state, _options(present.wait), [window], present.table, []
    )


def _options(wait: Wait | None) -> dict[str, int | None]:
    return wait.given if wait is not None else {}


def _site_script(functions: Functions, present: Present, wait: Wait | None) -> tuple[SiteScript, int]:
    """The moves and writes to the stub of these options, or to stock; with how many cases hold.

    The way back is proven as well: what goes in must come out.
    """
    spot = present.spot
    target = spot.stock if wait is None else stub_of(functions, spot, wait)
    writes = writes_to(present, target)
    after = Present(spot, "stock" if wait is None else "injected", target, wait=wait)
    try:
        table, cases = prove_moves(functions, spot.site, present.code, after.code, present.table)
        if wait is not None and writes:
            back = present_of(functions, spot, _as_if(after))
            cases += prove_moves(functions, spot.site, after.code, Code(), back.table)[1]
        for half in images_of(present, writes):
            if half.bytes not in (present.bytes, target):
                cases += prove_code(functions, spot.site, half.code)
    except ProofFailed as error:
        raise ShapeMismatch(
            f"{functions.image.path}: a thread in the middle of its wait could not be moved ({error}): patch the file "
            "and restart the program"
        ) from error
    windows = [Window(spot.low, present.bytes, target)]
    if spot.cave is not None:
        zeros = bytes(len(spot.cave.code))
        windows.append(Window(spot.cave.address, spot.cave.code if present.caved else zeros, zeros))
    name, state = spot.site.call.name, present.state
    return SiteScript(name, state, after.state, _options(present.wait), windows, table, writes), cases


def _as_if(after: Present) -> Read:
    def read(address: int, size: int) -> bytes:
        return after.bytes if address == after.spot.low else bytes(size)

    return read


def _checks(functions: Functions, presents: list[Present]) -> list[tuple[int, bytes]]:
    """Bytes that stand in this program's memory: the linker's build ID, and what is called to wait."""
    image = functions.image
    note = image.section(_BUILD_ID)
    spans = [(note.address, min(note.size, _MOST_OF_A_NOTE))] if note else []
    for low, high in {each.table.callee for each in presents}:
        spans += [(low, high - low)] if high else []
    return [(address, image.read(address, size)) for address, size in spans]


def _asks(functions: Functions, present: Present, site: SiteScript) -> list[tuple[int, int]]:
    """The new system calls: the number, and the address behind the instruction, which a filter may look at."""
    isa = functions.image.isa
    if site.wanted != "injected":
        return []
    edit = laid(present.spot.low, present.spot.stock, site.windows[0].after)
    behind = []
    for low, high in present.spot.site.spans:
        code = edit.new[low - edit.address : high - edit.address]
        behind += [each.end for each in isa.decode(code, low) if each.kind is Kind.SYSTEM_CALL]
    return [(isa.system_calls[name], each) for name in _NEW_CALLS for each in behind]
