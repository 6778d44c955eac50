"""Of a damaged file a reader that remembers undamaged ones tells what a reader without memory tells."""

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lief
import pytest
from hypothesis import given, settings
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
PIECE = 16
WORDS = (b"\0\0\0\0", b"\xe8\0\0\0", b"\1\0\0\x94", b"\xff\xff\xff\x97")
NEEDLES = (b"\0\0\0\xe8", b"\0\1", b"\xe8\0\0\0\1", b"\xff\xff\x97")


@contextlib.contextmanager
def knowing(data: bytes) -> Iterator[None]:
    """Only these bytes are known, and compared in small pieces, meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_known": [], "_PIECE": PIECE, "_LARGE": 4 * PIECE, "_SHORT": 0, "_SAMPLE": 1}.items():
            patch.setattr(compared, name, value)
        know(data)
        yield


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
def files(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An undamaged file and a damaged one, which may be cut or longer: of few words, so that all stand often."""
    undamaged = b"".join(draw(st.lists(st.sampled_from(WORDS), min_size=40, max_size=80)))
    data = bytearray(undamaged)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data) - 8))
        new = draw(st.sampled_from((*WORDS, b"\0", b"\xe8", b"\1")))
        data[at : at + len(new)] = new
    size = draw(st.just(len(data)) | st.integers(1, len(data)))
    return undamaged, bytes(data[:size]) + draw(st.sampled_from((b"", *WORDS, bytes(50))))


places = st.just(0) | st.integers(0, 400)


@settings(max_examples=400)
@given(both=files(), needle=st.sampled_from(NEEDLES), start=places, stop=places | st.just(400))
def test_a_search_of_a_damaged_file_finds_what_is_there(
    both: tuple[bytes, bytes], needle: bytes, start: int, stop: int
) -> None:
    undamaged, data = both
    with knowing(undamaged):
        own, plain = mapped(Compared, data), mapped(Mapped, data)
        assert own.find(needle, start, stop) == plain.find(needle, start, stop)
        span = Span(start, max(0, stop - start))
        for most in (3, 4096):
            asked = (NEEDLES, span, most)
            assert compared_hits(own, *asked) == compared_hits(own, *asked) == hits_of_each(plain, *asked)


@pytest.mark.parametrize("machine", ISAS)
@settings(max_examples=400)
@given(both=files(), start=places, stop=places | st.just(400), address=st.sampled_from((0, 2, 0x401000)))
def test_calls_in_a_damaged_file_are_those_that_are_there(
    machine: int, both: tuple[bytes, bytes], start: int, stop: int, address: int
) -> None:
    undamaged, data = both
    calls = ISAS[machine].direct_calls
    last = min(max(start, stop), len(data))
    targets = frozenset(range(address, address + 400))
    with knowing(undamaged):
        own, plain = mapped(Compared, data), mapped(Mapped, data)
        found = [*compared_calls(calls, 8)(own, start, last, address, targets)]
        assert sorted(found) == sorted(set(calls(plain, start, last, address, targets)))


@pytest.mark.parametrize(("name", "call", "at"), [("amd64", WORDS[1] + b"\0", 27), ("arm64", WORDS[2], 28)])
def test_a_call_at_the_end_of_what_is_searched_is_found_where_damage_lies_behind(
    name: str, call: bytes, at: int
) -> None:
    undamaged = bytes(at) + call + bytes(2 * PIECE)
    (calls,) = (each.direct_calls for each in ISAS.values() if each.name == name)
    with knowing(undamaged):
        own = mapped(Compared, undamaged[: 2 * PIECE] + b"x" * PIECE)
        found = compared_calls(calls, 8)(own, 0, 2 * PIECE, 0, frozenset({2 * PIECE}))
        assert [*found] == [(at, 2 * PIECE)]


def test_the_flow_of_other_instructions_is_another(remembering: None) -> None:
    remember_all()
    isa = ISAS[int(lief.ELF.ARCH.X86_64)]
    one, other = (tuple(isa.decode(code, 0x1000)) for code in (b"\x31\xc0\xc3", b"\x31\xdb\xc3"))
    assert isa.flow("function", one) is isa.flow("function", tuple(isa.decode(b"\x31\xc0\xc3", 0x1000)))
    assert isa.flow("function", other) is not isa.flow("function", one)
