"""What seccomp filters would say to a system call: their own programs, run here (classic BPF; seccomp(2))."""

import operator
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from patcher.errors import InternalFault
from patcher.isa.table import HERE
from patcher.live import ptrace
from patcher.live.errors import SeccompKills, SeccompUnreadable
from patcher.live.stopping import status_of

# linux/seccomp.h, in the order in which the kernel lets one win over another: the least as a signed number.
KILL_PROCESS, KILL_THREAD, TRAP, ERRNO = 0x80000000, 0x00000000, 0x00030000, 0x00050000
USER_NOTIFICATION, TRACE, LOG, ALLOW = 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000
NAMES = {
    KILL_PROCESS: "kills the process",
    KILL_THREAD: "kills the thread",
    TRAP: "sends SIGSYS",
    USER_NOTIFICATION: "asks a supervisor, whose answer nobody can foretell",
}
_ACTION, _DATA = 0xFFFF0000, 0x0000FFFF
_EINTR = 4
_MASK = 0xFFFFFFFF
_INSTRUCTION = struct.Struct("<HBBI")  # struct sock_filter (linux/filter.h)
_MOST_STEPS = 65_536  # a filter only jumps forwards, and has at most 4,096 instructions
_SCRATCH = 16
_FILTERED = "2"  # proc_pid_status(5), Seccomp

_CALCULATE: dict[int, Callable[[int, int], int]] = {
    0x00: operator.add,
    0x10: operator.sub,
    0x20: operator.mul,
    0x30: lambda one, two: one // two if two else 0,
    0x40: operator.or_,
    0x50: operator.and_,
    0x60: lambda one, two: one << two if two < 32 else 0,
    0x70: lambda one, two: one >> two if two < 32 else 0,
    0x90: lambda one, two: one % two if two else 0,
    0xA0: operator.xor,
}
_COMPARE: dict[int, Callable[[int, int], bool]] = {
    0x10: operator.eq,
    0x20: operator.gt,
    0x30: operator.ge,
    0x40: lambda one, two: bool(one & two),
}


@dataclass(frozen=True)
class Asked:
    """A system call as a filter sees it (struct seccomp_data): ``counter`` is the address behind the instruction."""

    number: int
    counter: int
    arguments: tuple[int, ...] = (0,) * 6
    arch: int = HERE.threads.AUDIT_ARCH

    def packed(self) -> bytes:
        """The bytes that a filter may load from."""
        return struct.pack("<IIQ6Q", self.number, self.arch, self.counter, *self.arguments)


def verdict(programs: Iterable[bytes], asked: Asked) -> int:
    """What all filters together do: the action that wins, with its data (kernel/seccomp.c, seccomp_run_filters)."""
    return min((run(each, asked) for each in programs), key=_rank, default=ALLOW)


def _rank(value: int) -> int:
    action = value & _ACTION
    return action - (1 << 32) if action >> 31 else action


def harms(value: int) -> str | None:
    """Why a verdict is not to be risked; None where the stub lives on: another errno than EINTR makes it ask as stock
    does, and one of 0 or EINTR would make it ask for ever.
    """
    action = value & _ACTION
    if action in NAMES:
        return NAMES[action]
    if action == ERRNO and value & _DATA in (0, _EINTR):
        return f"answers with errno {value & _DATA}, as if nothing had been waited for"
    return None if action in (ERRNO, TRACE, LOG, ALLOW) else f"does what is not known ({value:#x})"


def run(program: bytes, asked: Asked) -> int:
    """The value that one filter returns. Raises InternalFault for what the kernel would not have let in."""
    code = list(_INSTRUCTION.iter_unpack(program))
    return _Machine(code, asked.packed()).run()


class _Machine:
    """The two registers and sixteen words of classic BPF."""

    def __init__(self, code: Sequence[tuple[int, int, int, int]], data: bytes) -> None:
        self.code, self.data = code, data
        self.a = self.x = 0
        self.words = [0] * _SCRATCH

    def run(self) -> int:
        """From the first instruction to a return."""
        at = 0
        for _ in range(_MOST_STEPS):
            if at >= len(self.code):
                break
            opcode, true, false, k = self.code[at]
            at += 1
            kind = opcode & 7
            if kind == 6:
                return self.a if opcode & 0x18 == 0x10 else k
            if kind == 5:
                at += self._jump(opcode, true, false, k)
            else:
                self._step(kind, opcode, k)
        raise InternalFault("a seccomp filter does not come to an end; please report this")

    def _jump(self, opcode: int, true: int, false: int, k: int) -> int:
        if opcode & 0xF0 == 0:
            return k
        compare = _COMPARE.get(opcode & 0xF0)
        if compare is None:
            raise InternalFault(f"a seccomp filter holds an unknown jump ({opcode:#x}); please report this")
        return true if compare(self.a, self.x if opcode & 8 else k) else false

    def _step(self, kind: int, opcode: int, k: int) -> None:
        if kind == 0:
            self.a = self._loaded(opcode, k)
        elif kind == 1:
            self.x = self._loaded(opcode, k)
        elif kind == 2:
            self.words[k % _SCRATCH] = self.a
        elif kind == 3:
            self.words[k % _SCRATCH] = self.x
        elif kind == 4 and opcode & 0xF0 == 0x80:
            self.a = -self.a & _MASK
        elif kind == 4 and opcode & 0xF0 in _CALCULATE:
            self.a = _CALCULATE[opcode & 0xF0](self.a, self.x if opcode & 8 else k) & _MASK
        elif kind == 7:
            self.x, self.a = (self.x, self.x) if opcode & 0x80 else (self.a, self.a)
        else:
            raise InternalFault(f"a seccomp filter holds an unknown instruction ({opcode:#x}); please report this")

    def _loaded(self, opcode: int, k: int) -> int:
        mode = opcode & 0xE0
        if mode == 0x20 and k + 4 <= len(self.data):  # BPF_ABS
            return int(struct.unpack_from("<I", self.data, k)[0])
        if mode == 0x60:  # BPF_MEM
            return self.words[k % _SCRATCH]
        if mode == 0x80:  # BPF_LEN
            return len(self.data)
        return k  # BPF_IMM


def check(pid: int, tids: Sequence[int], asked: Sequence[Asked], calls: Mapping[str, int]) -> None:
    """No stopped thread may be killed by what it newly calls; filters are per thread. ``calls``: the numbers of all
    that a stub calls, by name. Raises SeccompKills, SeccompUnreadable.
    """
    if not asked:
        return
    known: dict[tuple[bytes, ...], str | None] = {}
    for tid in tids:
        programs = tuple(_filters_of(pid, tid))
        if not programs:
            continue
        if programs not in known:
            harm = [(each, why) for each in asked if (why := harms(verdict(programs, each)))]
            known[programs] = f"{harm[0][1]} at system call {harm[0][0].number}" if harm else None
        if why := known[programs]:
            names = " and ".join(f"{name} ({number})" for name, number in calls.items())
            raise SeccompKills(
                f"process {pid}: its seccomp filter {why}, which it would newly make (thread {tid}): allow {names} in "
                "the filter's profile and restart the process"
            )


def _filters_of(pid: int, tid: int) -> list[bytes]:
    """All filters of a thread: one call for one that has none, since the process stands still meanwhile."""
    found: list[bytes] = []
    try:
        while (program := ptrace.seccomp_filter(tid, len(found))) is not None:
            found.append(program)
    except OSError as error:
        if status_of(tid).get("Seccomp") != _FILTERED:  # who may not ask is not told whether there is one
            return []
        raise SeccompUnreadable(
            f"process {pid}: has a seccomp filter that this user may not read ({os.strerror(error.errno or 0)}; it "
            "takes CAP_SYS_ADMIN): run as root, or accept the filter if it allows epoll_pwait2 or answers it with an "
            "error",
            parameters=("accept_seccomp",),
        ) from error
    return found
