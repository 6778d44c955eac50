"""The proof of the moves: a thread is stopped at every PC that it can stand at, moved, and runs on in the other code.

Stock, beside, says what must come of it: netpoll's result with every event once, the frame as stock leaves it, and no
system call that stock would not make now. A thread that is not moved, outside of the code that changes, is run on, too.
"""

import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from patcher.edit.edit import Edit
from patcher.edit.moves import WAYS, Move, Place, Table
from patcher.errors import ProofFailed
from patcher.golang.functions import Functions
from patcher.isa.instruction import Kind
from patcher.proof.events import Answer, Run
from patcher.proof.machine import TOP, Machine
from patcher.strategies.netpoll.proof import (
    DESCRIPTOR,
    EINTR,
    THOROUGH_NS,
    Case,
    at_start,
    check_new_call,
    check_state,
    check_stock_calls,
    some_scripts,
    timeout_ns,
)
from patcher.strategies.netpoll.site import Site
from patcher.wait import Wait

_WORD = 8
_LONGEST = 15  # bytes of an instruction
_BELOW = 0x200  # bytes under the frame that stock's way into the kernel uses


@dataclass(frozen=True)
class Code:
    """One code of a wait: edits laid over stock, none for stock itself; ``wait`` None where it asks as stock does."""

    edits: tuple[Edit, ...] = ()
    wait: Wait | None = None

    def asks(self, delay_ns: int) -> bool:
        """Whether it makes the new call for such a delay."""
        return self.wait is not None and delay_ns > 0


def prove_moves(functions: Functions, site: Site, old: Code, new: Code, table: Table) -> tuple[Table, int]:
    """Run every move out of ``old`` into ``new``. Gives the table without what no case came to, and how many were run.

    Raises ProofFailed, naming the PC and the case.
    """
    prover = _Prover(functions, site, old, new, table)
    cases = [each for delay in THOROUGH_NS for each in some_scripts(delay)]
    ways = [prover.way(each) for each in cases]
    prover.watch(frozenset(at for way in ways for at, _ in way.steps))
    for case, way in zip(cases, ways, strict=True):
        prover.prove(case, way)
    proven, count = prover.proven_table(), prover.seen.total()
    del prover
    gc.collect()  # an emulator and its hooks hold each other, and the address space that it reserves
    return proven, count


def prove_code(functions: Functions, site: Site, code: Code) -> int:
    """Run every case through a code that asks as stock does, from the start to the join, beside stock."""
    prover = _Prover(functions, site, Code(), code, Table([], [], {}))
    cases = [each for delay in THOROUGH_NS for each in some_scripts(delay) if each.stock]
    for case in cases:
        try:
            prover.run_whole(case)
        except ProofFailed as error:
            raise ProofFailed(f"{site.call.name}, half rewritten, with {case}: {error}") from error
    del prover
    gc.collect()
    return len(cases)


@dataclass(frozen=True)
class _Left:
    """What is still to come: the kernel's answers, and how often the join is reached, until the end ``expected``."""

    answers: tuple[int, ...]
    arrivals: int
    expected: Run


class _Prover:
    """One wait and two codes."""

    def __init__(self, functions: Functions, site: Site, old: Code, new: Code, table: Table) -> None:
        self.functions, self.image, self.site, self.table = functions, functions.image, site, table
        self.abi = functions.image.isa.abi
        self.old_code, self.new_code = old, new
        self.memory = {site.epfd: DESCRIPTOR.to_bytes(4, "little")}
        self.stock = Machine(functions.image, (), self.memory, [site.join])
        self.new = Machine(functions.image, new.edits, self.memory, [site.join])
        self.seen: Counter[tuple[int, str]] = Counter()
        self.stood: set[tuple[int, int, tuple[int, ...]]] = set()
        self.calls_kernel: dict[int, bool] = {}

    @cached_property
    def old(self) -> Machine:
        """Every step is recorded."""
        return Machine(self.image, self.old_code.edits, self.memory)

    def watch(self, steps: frozenset[int]) -> None:
        """Stop at these alone from now on, where the emulator is several times as fast."""
        self.stopping = Machine(self.image, self.old_code.edits, self.memory, steps | {self.site.join})

    def way(self, case: Case) -> Run:
        """One case's way through the old code, to its last arrival at the join."""
        results = case.stock or case.answers
        return self.old.run(
            self.site.start, self._start(case.delay_ns), self._script(case), {self.site.join: len(results)}
        )

    def _script(self, case: Case) -> list[Answer]:
        results = case.stock or case.answers
        return [Answer(each) for each in (case.answers if self.old_code.asks(case.delay_ns) else results)]

    def prove(self, case: Case, whole: Run) -> None:
        """Stop at every step of one case's way."""
        results = case.stock or case.answers  # what reaches the join, in order
        start, script = self._start(case.delay_ns), self._script(case)
        expected = self._stock(case.delay_ns, results)
        counts: Counter[int] = Counter()
        answered = 0
        for index, (at, _) in enumerate(whole.steps):
            counts[at] += 1
            key = (case.delay_ns, index, tuple(each.result for each in script[:answered]))
            answered += self._calls_kernel(at)
            # Until the next answer a case goes where another went, and in the midst of a long string operation all is
            # as at its second step.
            if key in self.stood or whole.steps[max(index - 2, 0) : index] == 2 * [whole.steps[index]]:
                continue
            self.stood.add(key)
            stopped = self.stopping.run(self.site.start, start, script, {at: counts[at]})
            try:
                self._move(case, stopped, results[counts[self.site.join] - (at == self.site.join) :], expected)
            except ProofFailed as error:
                raise ProofFailed(
                    f"{self.site.call.name}: a thread at {at:#x}, with a delay of {case.delay_ns} ns and the answers "
                    f"{[each.result for each in script]}: {error}"
                ) from error

    def run_whole(self, case: Case) -> None:
        """One case through the new code, unmoved."""
        expected = self._stock(case.delay_ns, case.stock)
        script = [Answer(each) for each in case.stock]
        found = self.new.run(self.site.start, self._start(case.delay_ns), script, {self.site.join: len(case.stock)})
        self._check(case, found, _Left(case.stock, len(case.stock), expected))

    def _calls_kernel(self, at: int) -> bool:
        if at not in self.calls_kernel:
            laid = next((each for each in self.old_code.edits if each.address <= at < each.end), None)
            code = laid.new[at - laid.address :][:_LONGEST] if laid else self.image.read(at, _LONGEST)
            self.calls_kernel[at] = next(self.image.isa.decode(code, at)).kind is Kind.SYSTEM_CALL
        return self.calls_kernel[at]

    def proven_table(self) -> Table:
        """The table less what no case came to: a thread there is let go."""
        return Table(
            self.table.ranges,
            self.table.stay,
            self._seen_places(self.table.places),
            self.table.callee,
            self.table.returns,
            self._seen_places(self.table.callee_places),
        )

    def _seen_places(self, places: dict[int, Place]) -> dict[int, Place]:
        found = {}
        for at, place in places.items():
            ways = {way: getattr(place, way) for way in WAYS if self.seen[at, way]}
            if ways:
                found[at] = Place(**ways)
        return found

    def _start(self, delay_ns: int) -> dict[str, int]:
        return at_start(self.abi, self.site, delay_ns)

    def _stock(self, delay_ns: int, results: Sequence[int]) -> Run:
        script = [Answer(each) for each in results]
        return self.stock.run(self.site.start, self._start(delay_ns), script, {self.site.join: len(results)})

    def _move(self, case: Case, stopped: Run, results: tuple[int, ...], expected: Run) -> None:
        """Move the thread as the table says, and run on; one that would be let go is no matter here."""
        at = stopped.stop
        result = stopped.registers[self.abi.system_result] & 0xFFFFFFFF
        way, move = self._place(at).chosen(result - (result >> 31 << 32))
        if move is None:
            return
        left = self._left(case, stopped, results, expected, move)
        registers, words = self._moved(stopped, move)
        script = [Answer(each) for each in left.answers]
        found = self.new.run(
            move.go, registers, script, {self.site.join: left.arrivals}, words=words, status=stopped.status
        )
        self._check(case, found, left)
        self.seen[at, way] += 1

    def _place(self, at: int) -> Place:
        table = self.table
        if at in table.places:
            return table.places[at]
        if table.callee[0] <= at < table.callee[1]:
            return table.callee_places.get(at, Place())
        stays = at in table.stay or not any(low <= at < high for low, high in table.ranges)
        return Place(always=Move(at)) if stays else Place()

    def _left(self, case: Case, stopped: Run, results: tuple[int, ...], expected: Run, move: Move) -> _Left:
        joined = sum(at == self.site.join for at, _ in stopped.steps)
        calls = len(stopped.system_calls()) - joined
        needed = 2 if self.old_code.asks(case.delay_ns) and case.stock else 1
        answered = calls == needed  # the answer at hand is the one that reaches the join
        handed_on = answered and (results[0] >= 0 or results[0] == -EINTR)
        if move.go == self.site.start:  # begun anew
            if handed_on:
                raise ProofFailed(f"expected the answer {results[0]} to be handed on, found the wait begun again")
            refused = self.new_code.asks(case.delay_ns) and case.stock
            first = (case.refused_or_answered,) if refused and case.refused_or_answered is not None else ()
            return _Left((*first, *results), len(results), expected)
        if move.go != self.site.join or stopped.stop == self.site.join or handed_on:
            return _Left(results[1:] if answered else results, len(results), expected)
        if case.delay_ns > 0:  # as if interrupted
            return _Left((), 1, self._stock(case.delay_ns, (-EINTR,)))
        return _Left(results, len(results) + 1, expected)

    def _moved(self, stopped: Run, move: Move) -> tuple[dict[str, int], dict[int, int]]:
        """The registers and the words of the stack as the agent leaves them."""
        registers = {name: value for name, value in stopped.registers.items() if name != self.abi.program_counter}
        stack_pointer = registers[self.abi.stack_pointer] + move.pop
        registers[self.abi.stack_pointer] = stack_pointer
        for name, offset in move.load.items():
            registers[name] = stopped.word(stack_pointer + offset)
        for name, address in move.read.items():
            if address not in self.memory:
                raise ProofFailed(f"expected only epfd to be read anew, found {address:#x}")
            registers[name] = int.from_bytes(self.memory[address], "little", signed=True)
        registers |= move.point
        registers |= move.set
        bottom = TOP - self.site.depth
        words = {each: stopped.word(each) for each in range(bottom - _BELOW, bottom + self.site.top + _WORD, _WORD)}
        return registers, words

    def _check(self, case: Case, found: Run, left: _Left) -> None:
        calls, stock = found.system_calls(), left.expected.system_calls()
        if len(calls) != len(left.answers):
            raise ProofFailed(f"expected {len(left.answers)} system calls after the move, found {len(calls)}")
        isa = self.image.isa
        if calls and calls[0].number == isa.system_calls["epoll_pwait2"] and self.new_code.wait is not None:
            asked_ns = timeout_ns(case.delay_ns, self.new_code.wait)
            check_new_call(isa, self.site, calls.pop(0), asked_ns, stock[0])
        if calls:
            check_stock_calls(isa, calls, stock[-len(calls) :])
        check_state(self.functions, self.site, found, left.expected)
