"""The table of moves: proven for every PC of both codes, and a wrong one is caught."""

from dataclasses import dataclass, replace

import pytest

from patcher.edit.moves import Move, Place, Table
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.isa.instruction import Kind
from patcher.isa.isa import Abi
from patcher.live.spots import Present, Read, Spot, present_of, spots_of, stub_of
from patcher.strategies.netpoll.moves_proof import Code, prove_moves
from patcher.wait import PRECISE
from tests.conftest import BuildProgram
from tests.patcher.arm64.builds import build as build_arm64
from tests.soon import soon

BUILDS = (
    ("amd64", "1.27.3", "default"),
    ("amd64", "1.27.3", "pgo"),
    ("amd64", "1.21.13", "default"),
    ("amd64", "1.19.8", "pie"),
    ("arm64", "1.27.3", "default"),
    ("arm64", "1.27.3", "pie"),
    ("arm64", "1.21.13", "default"),
    ("arm64", "1.19.8", "pie"),
)


@dataclass(frozen=True)
class Both:
    functions: Functions
    spots: list[Spot]

    def presents(self, spot: Spot) -> tuple[Present, Present]:
        """Stock and the stub, each with its table."""
        stub = stub_of(self.functions, spot, PRECISE)
        stock = present_of(self.functions, spot, _window(spot, spot.stock))
        return stock, present_of(self.functions, spot, _window(spot, stub))


def _window(spot: Spot, window: bytes) -> Read:
    return lambda address, size: window if address == spot.low else bytes(size)


_MOST_LEFT_OUT = 3


@pytest.fixture(scope="module", params=soon(BUILDS, 0, long=(3, 4, 7)), ids="-".join)
def both(request: pytest.FixtureRequest, build_program: BuildProgram) -> Both:
    arch, go, mode = request.param
    path = build_arm64(go, mode) if arch == "arm64" else build_program("sleepbench", go, mode)
    functions = Functions(read_image(path))
    return Both(functions, spots_of(functions))


def test_every_move_is_proven_both_ways(both: Both) -> None:
    for spot in both.spots:
        stock, stub = both.presents(spot)
        for old, new in ((stock, stub), (stub, stock)):
            table, cases = prove_moves(both.functions, spot.site, old.code, new.code, old.table)
            assert cases > len(table.places) > 10
            assert set(table.places) == set(old.table.places)
            assert set(table.callee_places) == set(old.table.callee_places)


def test_of_a_stub_no_place_is_left_out_where_a_thread_waits(both: Both) -> None:
    """A thread waits behind the system call nearly always: it must never have to be let go.

    A few instructions in front of the call may be left out where the compiler inlined the wait, and two ways with other
    registers meet there, as a profile has it: a thread that is met there is let go, and met elsewhere the next time.
    """
    for spot in both.spots:
        _, stub = both.presents(spot)
        known = {*stub.table.places, *stub.table.stay}
        isa = both.functions.image.isa
        code = [
            each
            for low, high in spot.site.spans
            for each in isa.decode(stub.bytes[low - spot.low : high - spot.low], low)
        ]
        assert {each.end for each in code if each.kind is Kind.SYSTEM_CALL} <= known
        left_out = [each for each in code if each.address not in known and each.kind not in (Kind.TRAP, Kind.NOP)]
        assert len(left_out) <= (_MOST_LEFT_OUT if spot.site.call.inlined else 0), left_out


def test_a_poller_right_behind_its_call_is_moved_by_its_result(both: Both) -> None:
    for spot in both.spots:
        _, stub = both.presents(spot)
        isa = both.functions.image.isa
        calls = [
            each.end
            for low, high in spot.site.spans
            for each in isa.decode(stub.bytes[low - spot.low : high - spot.low], low)
            if each.kind is Kind.SYSTEM_CALL
        ]
        assert calls
        for place in (stub.table.places[each] for each in calls):
            assert place.chosen(3)[1] == place.done
            assert place.done is not None and place.done.go == spot.site.join
            assert place.interrupted is not None and place.interrupted.go == spot.site.join
            assert place.otherwise is not None and place.otherwise.go != spot.site.join


def _damaged(abi: Abi, table: Table, spot: Spot) -> dict[str, Table]:
    """Wrong tables, by what is wrong."""
    again = next(at for at, each in table.places.items() if each.always and each.always.load)
    by_result = next((at for at, each in table.places.items() if each.done), None)
    move = table.places[again].always
    assert move is not None
    others = (table.callee, table.returns, table.callee_places)

    def with_place(at: int, place: Place) -> Table:
        return Table(table.ranges, table.stay, {**table.places, at: place}, *others)

    def result(value: int) -> Move:
        return Move(spot.site.join, set={spot.site.error or abi.results[0]: 0, abi.results[0]: value})

    left = {at: place for at, place in table.places.items() if at != again}
    beside = replace(move, load={register: slot + 8 for register, slot in move.load.items()})
    wrong = {
        "the delay from a wrong slot": with_place(again, Place(always=beside)),
        "the stack moved": with_place(again, Place(always=replace(move, pop=8))),
        "no events though none was asked for": with_place(again, Place(always=result(0))),
        "left where it stands": Table(table.ranges, [*table.stay, again], left, *others),
    }
    # Where the descriptor has a register of its own, stock's conversion leaves the delay in its own, too.
    kept = spot.site.descriptor is not None
    if not kept or by_result is not None:
        gone = max(at for at, each in table.places.items() if each.always and each.always.load) if kept else again
        wrong["the delay not loaded"] = with_place(gone, Place(always=replace(move, load={})))
    if by_result is not None:
        place = table.places[by_result]
        wrong["events waited for again"] = with_place(by_result, Place(done=place.otherwise))
        wrong["an interruption told as events"] = with_place(by_result, Place(interrupted=result(1)))
    return wrong


def test_what_registers_hold_at_the_start_is_given_anew(both: Both) -> None:
    """Stock's conversion takes the descriptor's register for its own: a stub would ask with what is left there."""
    spot = both.spots[0]
    stock, stub = both.presents(spot)
    places = {at: each for at, each in stock.table.places.items() if each.always and each.always.read}
    if spot.site.descriptor is None:
        assert not places
        return
    at = max(places)
    move = places[at].always
    assert move is not None and move.read == {spot.site.descriptor: spot.site.epfd}
    table = replace(stock.table, places={**stock.table.places, at: Place(always=replace(move, read={}))})
    with pytest.raises(ProofFailed):
        prove_moves(both.functions, spot.site, stock.code, stub.code, table)


@pytest.mark.parametrize("which", ["stock", "stub"])
def test_a_wrong_table_is_caught(both: Both, which: str) -> None:
    spot = both.spots[0]
    stock, stub = both.presents(spot)
    old, new = (stock, stub) if which == "stock" else (stub, stock)
    abi = both.functions.image.isa.abi
    for what, table in _damaged(abi, old.table, spot).items():
        with pytest.raises(ProofFailed):
            prove_moves(both.functions, spot.site, old.code, new.code, table)
            pytest.fail(f"not caught: {what}")


def test_a_thread_of_a_stub_may_not_stay_at_the_retry(both: Both) -> None:
    """A refused call comes there with another register than stock's test of the milliseconds leaves.

    Where the retry is none of the stub's code, all that come there are alike.
    """
    spot = both.spots[0]
    _, stub = both.presents(spot)
    if not any(low <= spot.site.retry < high for low, high in spot.site.spans):
        return
    assert spot.site.retry not in stub.table.stay
    places = {at: place for at, place in stub.table.places.items() if at != spot.site.retry}
    table = Table(stub.table.ranges, [*stub.table.stay, spot.site.retry], places)
    with pytest.raises(ProofFailed):
        prove_moves(both.functions, spot.site, stub.code, Code(), table)
