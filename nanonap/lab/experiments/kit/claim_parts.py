"""The parts of a claim, each true, not true, or not settled (None), and how they are told."""

from collections.abc import Iterable, Mapping

from nanonap.lab.experiments.kit.ratios import TOO_FEW

Parts = Mapping[str, bool | None]
_WORDS = {True: "true", False: "not true", None: "not settled"}


def all_hold(found: Iterable[bool | None]) -> bool | None:
    """Whether all hold: not where one does not, and not settled where one is not settled or none was measured."""
    values = list(found)
    return False if False in values else None if None in values or not values else True


def any_holds(found: Iterable[bool | None]) -> bool | None:
    """Whether one holds; not settled where none does and one is not settled, or none was measured."""
    values = list(found)
    return True if True in values else None if None in values or not values else False


def tell_parts(parts: Parts) -> str:
    """Which parts hold, which do not, and which are not settled, and what would settle them."""
    lists = [
        f"{word}: {', '.join(name for name, holds in parts.items() if holds is value)}"
        for value, word in _WORDS.items()
        if value in parts.values()
    ]
    return "; ".join([*lists, TOO_FEW] if None in parts.values() else lists)
