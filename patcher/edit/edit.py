"""An edit is bytes that change and why; a plan is what a strategy wants done, with what must hold afterwards."""

from dataclasses import dataclass

from patcher.file.changes import Change


@dataclass(frozen=True)
class Edit:
    """Equal-size replacement of bytes in the file.

    ``address`` is the virtual address of the first byte as linked (before a PIE is moved), ``offset`` its place
    in the file; ``old`` and ``new`` have the same length.
    """

    function: str
    purpose: str
    address: int
    offset: int
    old: bytes
    new: bytes
    assembly: str

    @property
    def end(self) -> int:
        """The virtual address behind the last byte."""
        return self.address + len(self.new)

    @property
    def done(self) -> Change:
        """What the edit writes."""
        return self.offset, self.new

    @property
    def undone(self) -> Change:
        """What takes it back."""
        return self.offset, self.old


@dataclass(frozen=True)
class Proof:
    """How many cases were run and how many held: all, or there is no proof."""

    cases: int
    passed: int


@dataclass(frozen=True)
class Code:
    """A run of new instructions, all of which the proof must see executed: ``[start, end)``, virtual addresses."""

    start: int
    end: int


@dataclass(frozen=True)
class Plan:
    """What a strategy does to a binary.

    ``new_syscalls`` are the kernel's names of the system calls that the program will newly make; ``code`` the
    instructions to prove.
    """

    strategy: str
    edits: tuple[Edit, ...]
    code: tuple[Code, ...]
    new_syscalls: tuple[str, ...]
