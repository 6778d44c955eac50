"""Tests over many releases or modes: a few of them are quick tests, the others long ones."""

from collections.abc import Sequence
from typing import TypeVar

import pytest
from _pytest.mark import ParameterSet

T = TypeVar("T")


def soon(values: Sequence[T], *places: int) -> list[T | ParameterSet]:
    """All of the values, in their order, for ``parametrize``: long but for those at the places (-1 is the last)."""
    quick = {place % len(values) for place in places}
    return [each if place in quick else pytest.param(each, marks=pytest.mark.long) for place, each in enumerate(values)]
