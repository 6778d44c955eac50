"""Unicorn's engine, quicker to ask for a register: a proof asks some ten thousand times."""

import ctypes
from functools import cache
from typing import Any

from unicorn import UC_ERR_OK
from unicorn.unicorn_py3.unicorn import Uc, UcError


class Engine(Uc):
    """Registers of 64 bits are read into one word that is there already. Of all others the type is remembered, which
    Unicorn's own ``reg_read`` looks for anew each time: that takes longer than the reading.

    An instruction set has a class of its own, of this and of Unicorn's. (``ucsubclass`` would make this one the class
    of the instruction set that is emulated first.)
    """

    def __new__(cls, arch: int, mode: int) -> "Engine":
        """Of this class: ``Uc`` would make one of its own."""
        del arch, mode
        return object.__new__(cls)

    def __init__(self, arch: int, mode: int) -> None:
        """As ``Uc``."""
        super().__init__(arch, mode)
        self._word = ctypes.c_uint64()
        self._place = ctypes.byref(self._word)
        self._many: dict[tuple[int, ...], tuple[Any, Any, Any]] = {}  # what is asked for together: where it goes

    def word(self, number: int) -> int:
        """A register of 64 bits, by Unicorn's number."""
        status = self._do_reg_read(number, self._place)
        if status != UC_ERR_OK:
            raise UcError(status, number)
        return self._word.value

    def words(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """Several at once."""
        count = len(numbers)
        if numbers not in self._many:
            values = (ctypes.c_uint64 * count)()
            start, size = ctypes.addressof(values), ctypes.sizeof(ctypes.c_uint64)
            places = (ctypes.c_void_p * count)(*range(start, start + size * count, size))
            self._many[numbers] = (ctypes.c_int * count)(*numbers), places, values
        asked, places, values = self._many[numbers]
        status = self._do_reg_read_batch(asked, places, count)
        if status != UC_ERR_OK:
            raise UcError(status)
        return tuple(values)

    @classmethod
    @cache
    def _select_reg_class(cls, reg_id: int) -> Any:  # noqa: ANN401 - one of ctypes' or of Unicorn's
        return super()._select_reg_class(reg_id)
