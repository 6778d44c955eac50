"""A new backend is a class of the face and its place in the table: choosing, calling inside and limits then know it.

The toy limits nothing and says that it is elsewhere: what it runs gets a word of its own in the environment.
"""

from collections.abc import Sequence
from typing import ClassVar

import pytest

from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota import choose
from nanonap.lab.quota.base import Backend, Group, Throttling
from nanonap.lab.quota.choose import backend_class
from nanonap.lab.quota.limits import Limits
from nanonap.lab.show.survey import survey


class ToyGroup(Group):
    effective = Limits()

    def command(self, argv: Sequence[str]) -> list[str]:
        return ["/usr/bin/env", "TOY=1", *argv]

    def counters(self) -> Throttling | None:
        return None

    def close(self) -> None:
        return None


class ToyBackend(Backend):
    name: ClassVar[str] = "toy"
    elsewhere: ClassVar[bool] = True
    slow: ClassVar[bool] = True

    def prepare(self) -> None:
        return None

    def open(self, limits: Limits) -> Group:
        return ToyGroup()

    def beside(self, argv: Sequence[str]) -> list[str]:
        return ["/usr/bin/env", "TOY=2", *argv]

    def close(self) -> None:
        return None


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(choose._BACKENDS, "toy", f"{__name__}:ToyBackend")


def test_a_toy_is_chosen_by_its_name_and_says_what_it_is() -> None:
    found = choose.working("toy")
    assert isinstance(found, ToyBackend)
    assert (backend_class("toy").elsewhere, backend_class("toy").own_kernel) == (True, False)
    assert found.call("os:getenv", Stop(), 60, key="TOY") == "2"


def test_what_is_slow_is_tried_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanonap.lab.show.survey.BACKEND_NAMES", ("auto", "toy", "none"))
    told = {everything: survey(everything).backends[0] for everything in (False, True)}
    assert told[False].works is None
    assert told[True].works is True


@pytest.mark.parametrize("name", ["auto", "of another version"])
def test_of_a_name_that_is_none_the_face_says_what_most_do(name: str) -> None:
    assert not backend_class(name).elsewhere
