"""Tests over many releases or modes: those at both ends are quick tests, those between them are long ones."""

from collections.abc import Sequence
from typing import TypeVar

import pytest
from _pytest.mark import ParameterSet

T = TypeVar("T")


def ends_first(values: Sequence[T]) -> list[T | ParameterSet]:
    """All of the values, in their order, for ``parametrize``; all but the first and the last marked long."""
    between = [pytest.param(each, marks=pytest.mark.long) for each in values[1:-1]]
    return [*values[:1], *between, *values[1:][-1:]]
