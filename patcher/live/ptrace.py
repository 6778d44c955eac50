"""The few calls of ptrace(2) that are needed, by ctypes. No single step, no breakpoint, no injected call is among them.

Nothing here sets an option: a tracer that dies lets its threads go on as they are (never PTRACE_O_EXITKILL).
"""

import ctypes
import errno
import os
import struct
import time
from dataclasses import dataclass

from patcher.isa.table import HERE

_threads = HERE.threads
(_READ, _READ_WHAT), (_WRITE, _WRITE_WHAT) = _threads.READ, _threads.WRITE
# linux/ptrace.h
_DETACH = 17
_SEIZE, _INTERRUPT, _GETSIGMASK, _SECCOMP_GET_FILTER = 0x4206, 0x4207, 0x420A, 0x420C
_WALL = 0x4000_0000  # linux/wait.h, __WALL: threads too
_EVENT_STOP = 128 << 8  # PTRACE_EVENT_STOP in a status: stopped because it was asked to, or with its whole group
_BPF_INSTRUCTION = 8  # bytes of a struct sock_filter
_SIGSET = 8  # bytes of the kernel's sigset_t

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_ptrace.restype = ctypes.c_long
_registers = ctypes.create_string_buffer(_threads.SIZE)  # once: the process stands still meanwhile
_registers_at = _threads.ready(_registers)
_where = _threads.where
_waitid = _libc.waitid
_waitid.argtypes = (ctypes.c_int, ctypes.c_uint, ctypes.c_void_p, ctypes.c_int)
_REPORTS = os.WSTOPPED | os.WEXITED | os.WNOWAIT | _WALL
_report = ctypes.create_string_buffer(128)  # a siginfo_t
_report_at = ctypes.addressof(_report)
_REPORT = struct.Struct("<8xi12xi")  # si_code and si_status of a child's (asm-generic/siginfo.h, 64 bits)
_mask = ctypes.c_uint64()
_mask_at = ctypes.addressof(_mask)


def _call(request: int, tid: int, address: int = 0, data: object = None) -> int:
    """One request. Raises OSError, as ProcessLookupError for a thread that is gone or not stopped."""
    result: int = _ptrace(request, tid, address, data)
    if result == -1:
        raise _failed()
    return result


def _failed() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def seize(tid: int) -> None:
    """Trace a thread without stopping it."""
    _call(_SEIZE, tid)


def interrupt(tid: int) -> None:
    """Ask a seized thread to stop; a system call that it waits in ends or begins anew, as by a stop (signal(7))."""
    if _ptrace(_INTERRUPT, tid, 0, 0) == -1:
        raise _failed()


def detach(tid: int, number: int = 0) -> None:
    """Let a stopped thread go on, with the signal that it was stopped at the delivery of."""
    if _ptrace(_DETACH, tid, 0, number) == -1:
        raise _failed()


def look(tid: int) -> tuple[int, int, int, int]:
    """The program counter, the mode and the stack pointer of a stopped thread, and the signals that it blocks:
    not 0 in a signal handler of Go's, which blocks all. Asked for of every thread, so without a call to spare.
    """
    if _ptrace(_READ, tid, _READ_WHAT, _registers_at) == -1 or _ptrace(_GETSIGMASK, tid, _SIGSET, _mask_at) == -1:
        raise _failed()
    return *_where(_registers), _mask.value


def registers(tid: int) -> dict[str, int]:
    """The registers of a stopped thread: many, so not asked for of each."""
    _call(_READ, tid, _READ_WHAT, _registers_at)
    return _threads.unpack(_registers)


def set_registers(tid: int, values: dict[str, int]) -> None:
    """All registers of a stopped thread, at once: in the kernel this is one call, and a tracer's death cannot halve
    it.
    """
    buffer = ctypes.create_string_buffer(_threads.pack(values), _threads.SIZE)
    _call(_WRITE, tid, _WRITE_WHAT, _threads.ready(buffer))


def seccomp_filter(tid: int, index: int) -> bytes | None:
    """A stopped thread's filter, as struct sock_filter, 0 the last installed; None where there are no more.

    Raises OSError where it may not be read: that takes CAP_SYS_ADMIN and no filter of one's own.
    """
    length: int = _ptrace(_SECCOMP_GET_FILTER, tid, index, None)
    if length == -1:
        number = ctypes.get_errno()
        if number in (errno.ENOENT, errno.EINVAL):  # no more, or none at all (kernel/seccomp.c, get_nth_filter)
            return None
        raise _failed()
    buffer = ctypes.create_string_buffer(length * _BPF_INSTRUCTION)
    _call(_SECCOMP_GET_FILTER, tid, index, ctypes.addressof(buffer))
    return buffer.raw


@dataclass(frozen=True)
class Stop:
    """How a thread stands. ``held``: the signal that it is about to be given, which only a detach with it delivers."""

    held: int = 0


STANDS = Stop()


def wait_for_stop(tid: int, until: float) -> Stop | None:
    """Wait until a thread stands still; None for one that has ended. Raises TimeoutError at ``until`` (monotonic).

    The report is looked at and left (WNOWAIT). Taken, a signal at its delivery would be dropped if the tracer died
    now: the kernel gives what the report still holds (kernel/signal.c, ptrace_stop). This call sleeps in the kernel
    until that one thread reports, and is not woken by the others, each of which would take a processor from those that
    are still to stop; so ``until`` is looked at by every signal that is heard: something must send one now and then.
    """
    while _waitid(os.P_PID, tid, _report_at, _REPORTS):
        number = ctypes.get_errno()
        if number == errno.ECHILD:
            return None
        if number != errno.EINTR:
            raise _failed()
        if time.monotonic() >= until:
            raise TimeoutError
    code, status = _REPORT.unpack_from(_report)
    if code not in (os.CLD_TRAPPED, os.CLD_STOPPED):
        return None
    asked = status & ~0xFF == _EVENT_STOP or code == os.CLD_STOPPED
    return STANDS if asked else Stop(status & 0xFF)


def reap(tid: int) -> None:
    """Take note of a traced thread's end, so that its process can end."""
    try:
        os.waitid(os.P_PID, tid, os.WEXITED | os.WNOHANG | _WALL)
    except ChildProcessError:
        return
