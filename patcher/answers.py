"""What one process tells another, as JSON and back: a value of a wrong shape is refused, whoever made it.

The shape is that of the dataclass that is expected: names, kinds, and whole numbers in the range of 64 bits.
"""

import dataclasses
import math
import types
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_MOST_DIGITS = 20  # of a number of 64 bits; int() raises for thousands of them
_SIGNED = "may be negative"
#: A whole number that may be negative; a plain ``int`` may not.
Signed = Annotated[int, _SIGNED]


class WrongShape(Exception):
    """A value is not of the expected shape; the message says where and what was expected."""


def encode(value: object) -> Any:  # noqa: ANN401 - JSON
    """A dataclass, or what it may hold, as JSON can hold it: bytes as hex, paths as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: encode(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: encode(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [encode(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, Path) else value


def decode(kind: type[T], value: object, where: str = "the answer") -> T:
    """The value of that kind: a dataclass, str, bytes, bool, int, float, Path, ``X | None``, ``list[X]``,
    ``tuple[X, ...]``, ``tuple[X, Y]``, ``dict[str, X]`` or ``dict[int, X]``. What a dataclass does not name is left
    out. Raises WrongShape.
    """
    decoded: T = _decode(kind, value, where)
    return decoded


def _decode(kind: Any, value: object, where: str) -> Any:  # noqa: ANN401 - of the kind that is asked for
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _number(value, where, -(1 << 63))
    if origin in (Union, types.UnionType):
        (some,) = (each for each in arguments if each is not type(None))
        return None if value is None else _decode(some, value, where)
    if origin in (tuple, list):
        items = _expect(list, value, where)
        each_kind = arguments[:1] * len(items) if origin is list or arguments[-1] is Ellipsis else arguments
        if len(items) != len(each_kind):
            raise WrongShape(f"{where}: {len(each_kind)} values are expected, not {len(items)}")
        pairs = enumerate(zip(each_kind, items, strict=True))
        return origin(_decode(own, each, f"{where}[{index}]") for index, (own, each) in pairs)
    if origin is dict:
        named = _expect(dict, value, where).items()
        return {
            _name(arguments[0], name, where): _decode(arguments[1], each, f"{where}.{name}") for name, each in named
        }
    if dataclasses.is_dataclass(kind):
        return _fields(kind, _expect(dict, value, where), where)
    return _plain(kind, value, where)


def _plain(kind: Any, value: object, where: str) -> Any:  # noqa: ANN401 - of the kind
    if kind is int:
        return _number(value, where, 0)
    if kind is float:
        return _finite(value, where)
    if kind is bytes:
        return _bytes(_expect(str, value, where), where)
    return Path(_expect(str, value, where)) if kind is Path else _expect(kind, value, where)


def _fields(kind: Any, document: dict[str, object], where: str) -> Any:  # noqa: ANN401 - of the kind
    hints = get_type_hints(kind, include_extras=True)
    missing = [each.name for each in dataclasses.fields(kind) if each.name not in document]
    if missing:
        raise WrongShape(f"{where}: lacks {', '.join(missing)}")
    return kind(
        **{
            each.name: _decode(hints[each.name], document[each.name], f"{where}.{each.name}")
            for each in dataclasses.fields(kind)
        }
    )


def _expect(kind: type[T], value: object, where: str) -> T:
    if type(value) is not kind:  # True is an int to isinstance
        raise WrongShape(f"{where}: {kind.__name__} is expected, not {type(value).__name__}")
    return value


def _number(value: object, where: str, least: int) -> int:
    number = _expect(int, value, where)
    if not least <= number < 1 << 64:
        raise WrongShape(f"{where}: a number of 64 bits is expected, at least {least}")
    return number


def _name(kind: type, name: str, where: str) -> str | int:
    """A name in an object, which JSON has as text only."""
    if kind is not int:
        return name
    if not name.isdecimal() or len(name) > _MOST_DIGITS:
        raise WrongShape(f"{where}: a number is expected for a name")
    return _number(int(name), where, 0)


def _finite(value: object, where: str) -> float:
    if type(value) is int:
        return float(_number(value, where, -(1 << 63)))
    if not isinstance(value, float) or not math.isfinite(value):
        raise WrongShape(f"{where}: a finite number is expected")
    return value


def _bytes(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise WrongShape(f"{where}: bytes in hex are expected") from error
