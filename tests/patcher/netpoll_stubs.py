"""Stubs of strategy netpoll, right and wrong, and what the proof says to them."""

import re

import pytest

from patcher.edit import Plan
from patcher.errors import ProofFailed
from patcher.functions import Functions
from patcher.proof import prove
from patcher.room import Room
from patcher.strategies.netpoll import plan
from patcher.strategies.netpoll_site import Site, locate
from patcher.wait import PRECISE, Wait
from tests.patcher.alter import Change, altered, widened


def right_plan(functions: Functions, wait: Wait) -> Plan:
    # The early exit behind the first run is not reached from the stub: room for a stub that is longer.
    return widened(plan(functions, Room(functions.image), wait), locate(functions).retry)


def refusal(functions: Functions, site: Site, right: Plan, *changes: Change, wait: Wait = PRECISE) -> str:
    """What the proof says to the stub with its lines changed; ``{…}`` stands for what the matcher read."""
    names = {
        "delay": f"{site.delay_slot:#x}",
        "wait": f"{site.wait_slot:#x}",
        "events": f"{site.events:#x}",
        "epfd": f"{site.epfd:#x}",
        "above": f"{site.frame + 0x18:#x}",
        "rbp": f"{site.frame:#x}",
        "join": f"{site.join:#x}",
        "stock": re.findall(r"jle +(0x\w+)", right.edits[0].assembly)[0],
        "check": re.findall(r"jmp +(0x\w+)", right.edits[0].assembly)[0],
        "done": re.findall(r"jns +(0x\w+)", right.edits[1].assembly)[0],
    }
    wrong = altered(right, *((line.format(**names), pieces.format(**names)) for line, pieces in changes))
    assert wrong != right
    with pytest.raises(ProofFailed) as refused:
        prove(functions, wrong, None, wait)
    return str(refused.value)
