"""Code laid into several runs of bytes: cut where a run is full, the pieces joined by jumps."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from patcher.edit.edit import Code, Edit
from patcher.edit.room import replace_run
from patcher.errors import ShapeMismatch
from patcher.golang.image import GoImage
from patcher.isa.amd64.asm import assemble
from patcher.isa.amd64.code import decode

_MOST_ROUNDS = 8  # a jump's length depends on where it goes; this settles in two or three
_LEAST = 12  # bytes: a shorter run holds too little to be worth a jump there and back
JUMP = 5  # bytes of the longest jmp
_LABEL = re.compile(r"\s*(\w+):\s*(?:#.*)?")
_TRIED_CUTS = 4

DONE = "done"
"""The label that code jumps to when it is through; it also ends by running on into it."""


@dataclass(frozen=True)
class Run:
    """Bytes ``[start, end)``, virtual addresses, that new code may take."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.end - self.start


@dataclass(frozen=True)
class Work:
    """Two streams of assembly. ``first`` begins where ``runs[0]`` does and ends in a jump; ``second`` begins at
    ``entry``, where a run begins, and goes on at ``exit``, where that run ends. Labels of both are known to both.
    """

    runs: tuple[Run, ...]
    first: str
    second: str
    entry: int
    exit: int


def lay_out(image: GoImage, function: str, purpose: str, work: Work) -> tuple[tuple[Edit, ...], tuple[Code, ...]]:
    """The edits, one a run that is used, and the instructions to prove. Raises ShapeMismatch where it does not fit."""
    for texts in _ways(work):
        placed = _place(texts, work)
        if placed is not None:
            made = [
                replace_run(image, function, purpose, start=run.start, end=run.end, text=text)
                for run, text in placed.items()
            ]
            return tuple(edit for edit, _ in made), tuple(code for _, code in made)
    sizes = " and ".join(str(each.size) for each in work.runs)
    raise ShapeMismatch(
        f"{function}: the stub does not fit into the {sizes} bytes of the wait at {work.runs[0].start:#x}"
    )


Texts = dict[Run, list[str]]


def _ways(work: Work) -> Iterator[Texts]:
    """Ways to share the code out, the simplest first: what is cut off goes behind the other stream or into a filler."""
    home = work.runs[0]
    second_home = next(each for each in work.runs if each.start == work.entry)
    spare = [each for each in work.runs if each not in (home, second_home) and each.size >= _LEAST]
    first, second = _lines(work.first), _lines(work.second)
    for cut, rest in _cuts(first, home, [second_home, *spare], "more"):
        for second_cut, second_rest in _cuts(second, second_home, [home, *spare], "on"):
            texts: Texts = {home: list(cut), second_home: list(second_cut)}
            if second_home in rest:
                texts[second_home].append(f"        jmp   {DONE}")
            for host, lines in (*rest.items(), *second_rest.items()):
                texts.setdefault(host, []).extend(lines)
            if second_rest:
                texts[next(iter(second_rest))] += [f"      {DONE}:", f"        jmp   {work.exit:#x}"]
            yield texts


def _cuts(lines: Sequence[str], home: Run, hosts: Sequence[Run], label: str) -> Iterator[tuple[Sequence[str], Texts]]:
    """A stream whole, and then cut in two behind a line, as late as its run allows, with who takes the rest."""
    yield lines, {}
    ends = _ends(lines)
    last = max((index for index, end in enumerate(ends) if end + 2 <= home.size), default=0)
    for index in range(min(last, len(lines) - 2), max(last - _TRIED_CUTS, 0), -1):
        for host in hosts:
            rest = [f"      {label}:", *lines[index + 1 :]]
            yield [*lines[: index + 1], f"        jmp   {label}"], {host: rest}


def _ends(lines: Sequence[str]) -> list[int]:
    """Where each line ends, counted from the first, if every jump is short."""
    ends, end = [], 0
    for line in lines:
        jump = re.match(r"\s*j\w+ +\w+", line)
        end += 0 if _LABEL.fullmatch(line) else 2 if jump else len(assemble(line, 0))
        ends.append(end)
    return ends


def _place(texts: Texts, work: Work) -> dict[Run, str] | None:
    """The text of each run with the labels of the others as addresses; None where one does not fit."""
    known = {DONE: work.exit}
    for run, lines in texts.items():
        known |= {label[1]: run.start for line in lines if (label := _LABEL.fullmatch(line))}
    for _ in range(_MOST_ROUNDS):
        resolved = {run: _resolved(lines, known) for run, lines in texts.items()}
        codes = {run: assemble(text, run.start) for run, text in resolved.items()}
        labels = {
            name: address
            for run, code in codes.items()
            for name, address in _labels(texts[run], code, run.start).items()
        }
        if {**known, **labels} == known:
            fits = all(len(code) <= run.size for run, code in codes.items())
            return resolved if fits else None
        known |= labels
    return None


def _resolved(lines: Sequence[str], known: Mapping[str, int]) -> str:
    own = {found[1] for line in lines if (found := _LABEL.fullmatch(line))}

    def address(match: re.Match[str]) -> str:
        return match[1] + (match[2] if match[2] in own or match[2] not in known else hex(known[match[2]]))

    return "\n".join(re.sub(r"^(\s*j\w+ +)(\w+)", address, line) for line in lines)


def _labels(lines: Sequence[str], code: bytes, start: int) -> dict[str, int]:
    """The address of each label: that of the instruction behind it."""
    addresses = [each.address for each in decode(code, start)] + [start + len(code)]
    found, index = {}, 0
    for line in lines:
        if match := _LABEL.fullmatch(line):
            found[match[1]] = addresses[index]
        else:
            index += 1
    return found


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.split("#")[0].strip()]
