"""Tests over many releases or modes: a few of them are quick tests, a few long ones, and the others a campaign's."""

from collections.abc import Sequence
from typing import TypeVar

import pytest
from _pytest.mark import ParameterSet

T = TypeVar("T")


def soon(values: Sequence[T], *places: int, long: Sequence[int] | None = None) -> list[T | ParameterSet]:
    """All of the values, in their order, for ``parametrize``: long but for those at the places (-1 is the last).

    With ``long`` those at its places are long, and what is at neither is a campaign's.
    """
    quick, late = (
        {place % len(values) for place in each} for each in (places, range(len(values)) if long is None else long)
    )

    def marked(place: int, value: T) -> T | ParameterSet:
        if place in quick:
            return value
        return pytest.param(value, marks=pytest.mark.long if place in late else pytest.mark.campaign)

    return [marked(place, each) for place, each in enumerate(values)]
