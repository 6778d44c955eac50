"""A running program of linux/arm64 as it is planned, on any machine; that its threads live is shown in the guest."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from nanonap.toolchain.releases import NEWEST
from nanonap.toolchain.targets import AMD64, ARM64
from nanonap.trials.cycles.programs import CROSSING, program
from patcher.errors import UnsupportedGo
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.isolation import isolated
from patcher.live.errors import BreakpointSet, MemoryUnknown
from patcher.live.script import PAGE, Script, Spans
from patcher.live.spots import Present, Spot, present_of, spots_of, stub_of
from patcher.wait import Wait
from tests.patcher.arm64.builds import build

WAITS = (Wait(), Wait(quantum_ns=900_000, dense_ns=32_768), Wait(spin_ns=40_000))


@dataclass(frozen=True)
class Planned:
    functions: Functions
    spot: Spot

    def present(self, window: bytes) -> Present:
        return present_of(self.functions, self.spot, lambda at, size: window if at == self.spot.low else bytes(size))


@pytest.fixture(scope="module")
def planned() -> Planned:
    functions = Functions(read_image(build(NEWEST)))
    (spot,) = spots_of(functions)
    return Planned(functions, spot)


@pytest.mark.parametrize("wait", WAITS, ids=str)
def test_a_stub_in_memory_is_known_with_its_options(planned: Planned, wait: Wait) -> None:
    present = planned.present(stub_of(planned.functions, planned.spot, wait))
    assert (present.state, present.wait) == ("injected", wait)
    assert planned.present(planned.spot.stock).state == "stock"


@pytest.mark.parametrize("code", [b"\x00\x00\x20\xd4", b"\xa0\x00\x20\xd4"], ids=["debugger", "uprobe"])
def test_a_breakpoint_is_told_from_what_is_not_known(planned: Planned, code: bytes) -> None:
    stock = planned.spot.stock
    with pytest.raises(BreakpointSet, match=f"at {planned.spot.low + 8:#x} in memory"):
        planned.present(stock[:8] + code + stock[12:])
    with pytest.raises(MemoryUnknown):
        planned.present(stock[:9] + code + stock[13:])


def test_what_an_emulator_runs_is_refused() -> None:
    """Its registers are the emulator's to know: the kernel shows those of the machine."""
    with pytest.raises(
        UnsupportedGo, match=r"a program for linux/arm64, run by an emulator on this machine \(x86_64\)"
    ):
        isolated(build(NEWEST), "patcher.live.planner:spans", Spans, machine=AMD64.machine)


def script_for(path: Path, spots: list[Spot], action: str) -> Script:
    memory = [(each.low, each.stock.hex()) for each in spots]
    memory += [(each.cave.address, bytes(len(each.cave.code)).hex()) for each in spots if each.cave]
    wait = Wait().to_json() if action == "inject" else None
    found: Script = isolated(
        path, "patcher.live.planner:planned", Script, machine=ARM64.machine, memory=memory, action=action, wait=wait
    )
    return found


def test_a_script_writes_once_within_a_page_and_asks_a_filter_at_the_stubs_call(planned: Planned) -> None:
    script = script_for(build(NEWEST), [planned.spot], "inject")
    (site,) = script.sites
    (write,) = site.writes
    assert (write.address, write.new) == (planned.spot.low, stub_of(planned.functions, planned.spot, Wait()))
    assert script.calls == {"epoll_pwait2": 441, "epoll_pwait": 22}
    isa = planned.functions.image.isa
    (behind,) = {at for _, at in script.asks}
    at = behind - write.address
    assert next(isa.decode(write.new[at - 4 : at], behind - 4)).mnemonic == "svc"
    assert script.proven > 1000


@pytest.mark.long
def test_a_wait_in_two_pages_is_rewritten_by_steps_each_of_which_is_whole() -> None:
    """Each write lies in one page; before the body is written, the start leads to where stock's conversion stands."""
    path = program(NEWEST, CROSSING, ARM64)
    (spot,) = spots = spots_of(Functions(read_image(path)))
    assert spot.crosses and spot.cave is not None
    (site,) = script_for(path, spots, "inject").sites
    assert all(each.address // PAGE == (each.address + len(each.new) - 1) // PAGE for each in site.writes)
    cave, start, *bodies, last, clear = site.writes
    assert cave == type(cave)(spot.cave.address, spot.cave.code)
    assert (start.address, len(start.new), last.address, len(last.new)) == (spot.low, 4, spot.low, 4)
    assert (bodies[0].address, clear.address, any(clear.new)) == (spot.low + 4, spot.cave.address, False)
    assert len(bodies) == 2
