"""Of a damaged file a reader that remembers undamaged ones tells what a reader without memory tells."""

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanonap.base.errors import NanonapError
from nanonap.toolchain.patched import variant_of
from nanonap.toolchain.targets import TARGETS
from nanonap.trials.fuzz import compared
from nanonap.trials.fuzz.campaign import arms, bases, mutant_of
from nanonap.trials.fuzz.compared import Compared, compared_calls, compared_hits, know
from nanonap.trials.fuzz.readers import INSPECT, get_ready
from nanonap.trials.fuzz.remembered import forget_all, remember_all
from patcher.edit.room import Room
from patcher.file.content import Mapped
from patcher.file.elf_tables import Span, hits_of_each
from patcher.golang.functions import Functions
from patcher.golang.image import read_image, read_twice
from patcher.inspection import inspected
from patcher.isa.table import ISAS
from patcher.planning import fit_plans
from patcher.strategies.strategy import Options
from tests.soon import soon

SEED = 31
SHARDS = [(arch, shard) for shard in range(6) for arch in ("amd64", "arm64")]
MUTANTS_A_SHARD = 65
UNDAMAGED = bytes(1 << 15) + b"".join(b"%06d" % each + bytes(10) for each in range(1 << 11)) + b"\xe8\0\0\0\0" * 99
NEEDLES = (b"0010", b"0011", b"\x0012", b"00123", b"\0\x0034")
PIECES = (b"", b"\0", b"0", b"12", bytes(9), b"000017", b"\xe8\0\0\0\0", b"\xe8\xf6\xff\xff\xff", b"\0\0\0\x94")


@contextlib.contextmanager
def knowing(*datas: bytes) -> Iterator[None]:
    """Only these bytes are known, meanwhile."""
    before = compared._known.copy()
    compared._known.clear()
    for each in datas or (UNDAMAGED,):
        know(each)
    try:
        yield
    finally:
        compared._known[:] = before


@pytest.fixture
def remembering() -> Iterator[None]:
    yield
    forget_all()


def told(path: Path, arm: str) -> object:
    """All that a reader tells of a file by an arm: what it found or planned, or its error and message."""
    found: list[object] = []
    try:
        if arm == INSPECT:
            found.append(inspected(path))
        else:
            variant, functions = variant_of(arm), Functions(read_image(path))
            options = Options(variant.slack_ns, variant.wait)
            found.append(fit_plans(functions, variant.strategy, Room(functions.image), options))
            found.append(read_twice(path))
    except NanonapError as error:
        found.append((type(error), str(error), error.parameters))
    return found


@pytest.mark.usefixtures("remembering")
@pytest.mark.parametrize("shard", soon(SHARDS, 0, 1, long=(2, 3, 4, 5)), ids=lambda each: f"{each[0]}-{each[1]}")
def test_a_reader_with_memory_tells_what_one_without_tells(shard: tuple[str, int], tmp_path: Path) -> None:
    arch, part = shard
    target, every = TARGETS[arch], arms(TARGETS[arch])
    remember_all()
    get_ready((each.path for each in bases(arch)), every)
    kinds = set()
    for number in range(part * MUTANTS_A_SHARD, (part + 1) * MUTANTS_A_SHARD):
        base, mutant, _ = mutant_of(number, SEED, target)
        arm = every[number % len(every)]
        path = tmp_path / "mutant"
        mutant.write(base, path)
        remember_all()
        with_memory = told(path, arm)
        forget_all()
        assert with_memory == told(path, arm), number
        kinds.add(mutant.kind)
    assert len(kinds) == 13


def mapped(kind: type[Mapped], data: bytes) -> Mapped:
    with tempfile.TemporaryFile() as stream:
        stream.write(data)
        stream.flush()
        return kind(stream.fileno(), 0, prot=mmap.PROT_READ)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The undamaged bytes with pieces laid over them, perhaps cut or made longer."""
    data = bytearray(UNDAMAGED)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=12))
        data[at : at + len(piece)] = piece
    return bytes(data[: draw(st.integers(1, len(data)) | st.just(len(data)))]) + draw(
        st.sampled_from((b"", b"0", bytes(5000)))
    )


needles = st.sampled_from(PIECES[1:]) | st.binary(min_size=1, max_size=9)
places = st.integers(0, len(UNDAMAGED) + 6000)


@given(data=damaged(), needle=needles, start=places, stop=places)
def test_a_search_of_a_damaged_file_finds_what_is_there(data: bytes, needle: bytes, start: int, stop: int) -> None:
    with knowing():
        own, plain = mapped(Compared, data), mapped(Mapped, data)
        for span in (Span(start, max(0, stop - start)), Span(0, len(data))):
            assert own.find(needle, span.offset, span.end) == plain.find(needle, span.offset, span.end)
            for most in (3, 4096):
                asked = (NEEDLES, span, most)
                assert compared_hits(own, *asked) == compared_hits(own, *asked) == hits_of_each(plain, *asked)


@given(data=damaged(), start=places, stop=places)
@pytest.mark.parametrize("machine", ISAS)
def test_calls_in_a_damaged_file_are_those_that_are_there(data: bytes, start: int, stop: int, machine: int) -> None:
    calls = ISAS[machine].direct_calls
    search = compared_calls(calls, 8)
    with knowing():
        own, plain = mapped(Compared, data), mapped(Mapped, data)
        for first, last in ((start, min(max(start, stop), len(data))), (0, len(data))):
            for address in (first, 0x401000):
                targets = frozenset({address + 4, address + 5, address + 0x8005, address + 0xFF00})
                found = [*search(own, first, last, address, targets)]
                assert found == sorted(set(calls(plain, first, last, address, targets)))
