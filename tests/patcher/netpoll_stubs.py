"""Stubs of strategy netpoll, right and wrong, and what the proof says to them."""

import re

import pytest

from patcher.edit.edit import Plan
from patcher.edit.room import Room
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.proving import prove
from patcher.strategies.netpoll.amd64 import plan
from patcher.strategies.netpoll.amd64_site import Site, locate
from patcher.strategies.strategy import Options
from patcher.wait import PRECISE, Wait
from tests.patcher.alter import Change, altered, widened


def right_plan(functions: Functions, wait: Wait) -> Plan:
    # The early exit behind the first run is not reached from the stub: room for a stub that is longer.
    return widened(plan(functions, Room(functions.image), wait), locate(functions)[0].retry)


def refusal(functions: Functions, site: Site, right: Plan, *changes: Change, wait: Wait = PRECISE) -> str:
    """What the proof says to the stub with its lines changed; ``{…}`` stands for what the matcher read."""
    names = {
        "delay": f"{next(each.slot for each in site.spills if each.what == 'delay'):#x}",
        "wait": f"{site.wait_slot:#x}",
        "events": f"{site.events:#x}",
        "epfd": f"{site.epfd:#x}",
        "above": f"{site.depth + 0x10:#x}",
        "rbp": f"{site.depth - 8:#x}",
        "join": f"{site.join:#x}",
        "stock": f"{site.retry:#x}",
        "ask": re.findall(r"jmp +(0x\w+)", right.edits[0].assembly)[0],
    }
    wrong = altered(right, *((line.format(**names), pieces.format(**names)) for line, pieces in changes))
    assert wrong != right
    with pytest.raises(ProofFailed) as refused:
        prove(functions, wrong, Options(wait=wait))
    return str(refused.value)
