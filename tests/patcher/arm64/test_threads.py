"""A stopped thread of AArch64 as the kernel shows it; what is written down here is the kernel's headers, once more."""

import ctypes
import struct

from patcher.isa.arm64 import threads

_COUNTER = 0x53074


class Context(ctypes.Structure):
    """struct sigcontext (arch/arm64/include/uapi/asm/sigcontext.h), up to its records."""

    _fields_ = (
        ("fault_address", ctypes.c_uint64),
        ("regs", ctypes.c_uint64 * 31),
        ("sp", ctypes.c_uint64),
        ("pc", ctypes.c_uint64),
        ("pstate", ctypes.c_uint64),
        ("aligned", ctypes.c_uint64),
        ("magic", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("fpsr", ctypes.c_uint32),
        ("fpcr", ctypes.c_uint32),
        ("vregs", ctypes.c_uint64 * 64),
    )


class Frame(ctypes.Structure):
    """struct rt_sigframe (arch/arm64/kernel/signal.c), up to the end of its first record."""

    _fields_ = (
        ("info", ctypes.c_uint8 * 128),
        ("uc_flags", ctypes.c_uint64),
        ("uc_link", ctypes.c_uint64),
        ("uc_stack", ctypes.c_uint64 * 3),
        ("uc_sigmask", ctypes.c_uint64 * 16),
        ("aligned", ctypes.c_uint64),
        ("context", Context),
    )


def frame(counter: int) -> bytes:
    made = Frame()
    made.context.regs[:] = range(31)
    made.context.sp, made.context.pc, made.context.pstate = 0x4000_1230, counter, 0x6000_0000
    made.context.magic, made.context.size = 0x46508001, 0x210
    return bytes(made)


def test_a_frame_tells_where_its_thread_was_interrupted() -> None:
    assert (Frame.context.offset % 16, Context.magic.offset % 16) == (0, 0)
    stack = bytes(range(256)) * 2 + frame(_COUNTER) + bytes(1000) + frame(_COUNTER + 4)
    assert list(threads.interrupted_at(stack)) == [_COUNTER, _COUNTER + 4]
    assert list(threads.interrupted_at(bytes(4) + frame(_COUNTER))) == []  # no word begins there
    assert list(threads.interrupted_at(frame(_COUNTER)[Frame.context.offset + Context.magic.offset :])) == []


def answered(buffer: "ctypes.Array[ctypes.c_char]", data: bytes) -> None:
    """As PTRACE_GETREGSET fills what the vector points to, and says how much that was."""
    vector = threads.ready(buffer)
    base, _ = struct.unpack("<QQ", ctypes.string_at(vector, 16))
    ctypes.memmove(base, data, len(data))
    ctypes.memmove(vector + 8, struct.pack("<Q", len(data)), 8)


def test_registers_are_read_by_their_names() -> None:
    values = [*range(100, 131), 0x7FFF_0000, _COUNTER, 0x6000_0000]
    buffer = ctypes.create_string_buffer(threads.SIZE)
    answered(buffer, struct.pack("<34Q", *values))
    assert threads.where(buffer) == (_COUNTER, threads.MODE, 0x7FFF_0000)
    found = threads.unpack(buffer)
    assert (found["x0"], found["x30"], found["sp"], found["pc"]) == (100, 130, 0x7FFF_0000, _COUNTER)
    assert threads.unpack(threads.pack(found)) == found
    assert len(threads.pack(found)) == threads.SIZE


def test_a_thread_of_32_bits_is_not_taken_for_another() -> None:
    """The kernel gives 18 registers of four bytes, and leaves what lay behind them."""
    buffer = ctypes.create_string_buffer(threads.SIZE)
    answered(buffer, struct.pack("<34Q", *range(34)))
    answered(buffer, struct.pack("<18I", *range(18)))
    _, mode, _ = threads.where(buffer)
    assert mode != threads.MODE
