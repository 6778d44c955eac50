"""Start a program under a seccomp filter that gives one system call any answer: filtered.py CALL VALUE PROGRAM …."""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER, ALLOW = 2, 0x7FFF_0000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def code_for(number: int, value: int) -> bytes:
    """The filter's instructions: by the number alone."""
    lines = ((LOAD_WORD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, number), (RETURN, 0, 0, value), (RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("<HBBI", *each) for each in lines)


def install(number: int, value: int) -> None:
    """For this process and all that it starts."""
    code = code_for(number, value)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(code) // 8, code)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    install(int(sys.argv[1]), int(sys.argv[2], 0))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 - a shell would be one more program in the filter
