"""Run a program with a system call refused, as a container's filter does: refuse.py CALL ERRNO PROGRAM [ARGUMENT …].

CALL is a number (230), or a number and the first argument that is refused (157/29). The filter is a classic BPF
program over struct seccomp_data (linux/include/uapi/linux/seccomp.h), for x86-64.
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x0005_0000, 0x7FFF_0000
AUDIT_ARCH_X86_64 = 0xC000_003E
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
NUMBER_AT, ARCHITECTURE_AT, ARGUMENT_AT = 0, 4, 16  # offsets in struct seccomp_data


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse(number: int, argument: int | None, errno: int) -> None:
    """Answer system call ``number`` with ``errno``, in this process and all that it starts."""
    tests = [(ARCHITECTURE_AT, AUDIT_ARCH_X86_64), (NUMBER_AT, number)]
    if argument is not None:
        tests.append((ARGUMENT_AT, argument))  # its lower half: prctl's option is an int
    code = b""
    for index, (offset, value) in enumerate(tests):
        to_allow = 2 * (len(tests) - 1 - index) + 1
        code += struct.pack("<HBBI", LOAD_WORD, 0, 0, offset)
        code += struct.pack("<HBBI", JUMP_IF_EQUAL, 0, to_allow, value)
    code += struct.pack("<HBBI", RETURN, 0, 0, SECCOMP_RET_ERRNO | errno)
    code += struct.pack("<HBBI", RETURN, 0, 0, SECCOMP_RET_ALLOW)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(code) // 8, code)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    call, _, first = sys.argv[1].partition("/")
    refuse(int(call), int(first) if first else None, int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 - a shell would be one more program in the filter
