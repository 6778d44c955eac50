"""Many lines over one, both ends on this host."""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from nanonap.base.errors import UsageError
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.guest.mux import Mux
from nanonap.lab.guest.wire import (
    GuestGone,
    Line,
    error_from_json,
    error_to_json,
    limits_from_json,
    limits_to_json,
)
from tests.lab.guest.inside import KINDS
from tests.patience import PATIENCE_S, wait_until


def _echo(stream: socket.socket) -> None:
    line = Line(stream)
    try:
        while True:
            line.send(*line.receive())
    except GuestGone:
        line.close()


@pytest.fixture
def near() -> Iterator[tuple[Mux, socket.socket]]:
    """The near end of a line whose far end gives back every message, and what cuts it."""
    here, there = socket.socketpair()
    mux = Mux(here.fileno())
    threads = [threading.Thread(target=each.run) for each in (mux, Mux(there.fileno(), _echo))]
    for thread in threads:
        thread.start()
    yield mux, there
    here.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    here.close()
    there.close()


def test_channels_do_not_mix_and_bytes_stay_as_they_are(near: tuple[Mux, socket.socket]) -> None:
    def exchange(number: int) -> bool:
        payload = bytes([number, 10, 0, 255]) * 200_000
        line = Line(near[0].open())
        line.send({"number": number}, payload)
        message, data = line.receive()
        line.close()
        return message["number"] == number and data == payload

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(exchange, range(8)))


def test_a_channel_that_nobody_reads_stops_no_other(near: tuple[Mux, socket.socket]) -> None:
    stuck, other = Line(near[0].open()), Line(near[0].open())
    stuck.send({}, bytes(4_000_000))
    other.socket.settimeout(PATIENCE_S)
    other.send({"still": "there"})
    assert other.receive() == ({"still": "there"}, b"")
    assert len(stuck.receive()[1]) == 4_000_000
    stuck.close()
    other.close()


def test_what_ends_late_is_never_written_to_a_file_that_has_got_the_lines_number() -> None:
    here, there = socket.socketpair()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    mux, number = Mux(here.fileno()), here.fileno()
    carrying = threading.Thread(target=mux.run)
    carrying.start()
    channel = mux.open()
    with mux._writing:  # what the channel still says waits for this
        there.close()
        carrying.join(PATIENCE_S)
        here.close()
        os.dup2(writing, number)
    wait_until(lambda: not mux._channels)
    with pytest.raises(BlockingIOError):
        os.read(reading, 1)
    channel.close()
    for each in (reading, writing, number):
        os.close(each)


def test_when_the_line_is_cut_every_channel_ends_and_a_new_one_at_once(near: tuple[Mux, socket.socket]) -> None:
    line = Line(near[0].open())
    line.send({"hello": 1})
    line.receive()
    near[1].shutdown(socket.SHUT_RDWR)
    for each in (line, Line(near[0].open())):
        each.socket.settimeout(PATIENCE_S)
        with pytest.raises(GuestGone):
            each.receive()
        each.close()


@pytest.mark.parametrize("name", KINDS)
def test_limits_cross_the_line_unchanged(name: str) -> None:
    assert limits_from_json(limits_to_json(KINDS[name])) == KINDS[name]


def test_errors_cross_the_line_with_their_parts() -> None:
    refusal = error_from_json(error_to_json(QuotaUnavailable("cgroup2", "no", "do this")), "guest")
    assert isinstance(refusal, QuotaUnavailable)
    assert (refusal.backend, refusal.remedy) == ("guest", "do this")
    assert "cgroup2: no" in refusal.reason
    assert isinstance(error_from_json(error_to_json(UsageError("bad")), "guest"), UsageError)
    assert "KeyError: 'x'" in str(error_from_json(error_to_json(KeyError("x")), "guest"))
