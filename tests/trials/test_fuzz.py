"""A thousand damaged binaries: each ends in an error of ours or in a right patch, within its time and memory."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanonap.toolchain.targets import AMD64, ARM64, TARGETS, Target
from nanonap.trials.errors import FuzzFound
from nanonap.trials.fuzz import campaign
from nanonap.trials.fuzz.campaign import BLOCK, Campaign, arms, bases, judge_block, judge_number, mutant_of, run_fuzz
from nanonap.trials.fuzz.judge import Verdict, judge
from nanonap.trials.fuzz.mutants import Mutant, kinds
from nanonap.trials.fuzz.show import check_found, page_with, write_page
from nanonap.trials.fuzz.tally import Finding, Tally, keep_tally, kept_tally
from nanonap.trials.matrix.cells import variants_for
from tests.soon import soon

SEED = 20
SHARDS = [(target.name, shard) for shard in range(6) for target in (AMD64, ARM64)]
MUTANTS_A_SHARD = 15  # `invoke fuzz` has thousands


@pytest.mark.parametrize("shard", soon(SHARDS, 0, long=(1, 2)), ids=lambda each: f"{each[0]}-{each[1]}")
def test_every_mutant_ends_in_an_error_of_ours_or_a_right_patch(shard: tuple[str, int], tmp_path: Path) -> None:
    arch, part = shard
    numbers = range(part * MUTANTS_A_SHARD, (part + 1) * MUTANTS_A_SHARD)
    judged = [judge_number(number, SEED, tmp_path, TARGETS[arch]) for number in numbers]
    assert [(each.number, each.verdict.finding) for each in judged if each.verdict.finding] == []


@st.composite
def mutants(draw: st.DrawFn) -> Mutant:
    """Up to four fields of one kind of place set to anything: Hypothesis shrinks what it finds to the least."""
    base = draw(st.sampled_from(bases()))
    kind = draw(st.sampled_from(sorted(base.places)))
    edits = []
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(base.places[kind]))
        width = draw(st.sampled_from(sorted(set(place.fields))))
        at = place.offset + draw(st.integers(0, max(0, place.size - width)))
        edits.append((at, draw(st.integers(0, (1 << 8 * width) - 1)).to_bytes(width, "little")))
    return Mutant(base.name, kind, 0, tuple(edits), len(base.data))


@pytest.mark.long
@settings(max_examples=30, derandomize=True)
@given(mutant=mutants(), arm=st.sampled_from(arms(AMD64)[1:]))
def test_any_fields_set_to_anything_do_no_harm(
    mutant: Mutant, arm: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("mutant") / "mutant"
    mutant.write(next(each for each in bases() if each.name == mutant.base), path)
    assert judge(path, arm).finding is None


@pytest.mark.parametrize("target", [AMD64, ARM64], ids=lambda each: each.name)
def test_a_number_and_a_seed_give_the_same_mutant_and_every_kind_and_arm_comes_round(target: Target) -> None:
    assert mutant_of(17, 3, target)[1:] == mutant_of(17, 3, target)[1:]
    assert mutant_of(17, 3, target)[1] != mutant_of(17, 4, target)[1]
    drawn = [mutant_of(number, 1, target) for number in range(600)]
    assert {(base.name, mutant.kind) for base, mutant, _ in drawn} == {
        (base.name, kind) for base in bases(target.name) for kind in kinds(base)
    }
    assert {arm for _, _, arm in drawn} == {"inspect", *(each.name for each in variants_for(target))}


def test_code_is_damaged_by_whole_instructions_where_all_have_one_length() -> None:
    widths = {target: {each.fields for each in bases(target.name)[0].places["code"]} for target in (AMD64, ARM64)}
    assert widths == {AMD64: {(1,)}, ARM64: {(4,)}}


@pytest.mark.parametrize(("target", "option"), [(AMD64, ""), (ARM64, "--arch arm64 ")], ids=["amd64", "arm64"])
def test_a_finding_is_kept_with_how_to_repeat_it(
    target: Target, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "judge", lambda *_, **__: Verdict("a traceback", "KeyError: 1", 0.1, 1))
    judged = judge_number(9, 5, tmp_path, target)
    kept = json.loads((tmp_path / f"{target.prefix}5-9" / "finding.json").read_text())
    assert kept["again"] == f"invoke fuzz {option}--seed 5 --only 9"
    assert (tmp_path / f"{target.prefix}5-9" / "mutant").stat().st_size == mutant_of(9, 5, target)[1].size
    assert judged.verdict.finding


def test_some_of_a_block_go_through_the_whole_patcher_and_all_findings_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(path: Path, arm: str, *, remembering: bool) -> Verdict:
        assert path.exists()
        asked[remembering].append(arm)
        return Verdict("a traceback", "KeyError: 1", 0.1, 1)

    asked: dict[bool, list[str]] = {True: [], False: []}
    monkeypatch.setattr(campaign, "judge", whole)
    monkeypatch.setattr(campaign, "_IN_FULL", 0.3)
    monkeypatch.setattr(campaign, "_WITHOUT_MEMORY", 0.5)
    tally = judge_block(range(BLOCK), 1, keep=tmp_path)
    assert tally.read == sum(sum(each.values()) for each in tally.readings.values()) == BLOCK
    assert 0 < tally.patched == len(tally.findings) == len(list(tmp_path.iterdir())) < BLOCK
    assert all(asked.values())
    assert sum(map(len, asked.values())) == tally.patched
    with pytest.raises(FuzzFound, match=f"{tally.patched} of {BLOCK} damaged files"):
        check_found(tally)


def test_what_was_judged_is_counted_and_not_judged_again_until_something_changes(tmp_path: Path) -> None:
    work, path, page = Campaign(2), tmp_path / "amd64-2.json", tmp_path / "pages" / "fuzz.md"
    assert run_fuzz(work, BLOCK + 1, folder=tmp_path).read == BLOCK + 1
    kept = json.loads(path.read_text())
    assert (kept["tally"]["read"], kept["tally"]["spans"]) == (BLOCK + 1, [[0, BLOCK + 1]])
    keep_tally(path, kept["key"], Tally(read=1000, spans=[(0, BLOCK)]))
    tally = run_fuzz(work, BLOCK + 2, folder=tmp_path)
    assert (tally.read, tally.spans) == (1002, [(0, BLOCK + 2)])
    page.parent.mkdir()
    write_page(page, work, tally)
    assert "1,002 mutants read" in page.read_text()
    elsewhere = tmp_path / "another machine"
    assert run_fuzz(work, BLOCK + 3, folder=elsewhere, published=page.with_suffix("")).read == 1003
    assert run_fuzz(work, 1, folder=tmp_path, again=True).read == 1
    assert kept_tally(path, kept["key"]).read == 1
    assert kept_tally(path, "another").read == 0


class _Lost:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(10_000))  # the signal is taken here, where nothing that is raised gets out


def _judges_on() -> None:
    campaign._begin(AMD64)
    _Lost()
    time.sleep(60)


def test_a_worker_whose_word_to_end_is_lost_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "_PATIENCE_S", 1)
    monkeypatch.setattr(campaign, "get_ready", lambda *_: None)
    worker = multiprocessing.get_context("fork").Process(target=_judges_on)
    worker.start()
    worker.join(50)
    assert worker.exitcode == -signal.SIGALRM


@given(spans=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6), mutants=st.integers(0, 90))
def test_what_is_left_and_what_is_there_are_all_numbers_once(spans: list[tuple[int, int]], mutants: int) -> None:
    tally, there = Tally(), set[int]()
    for first, length in spans:
        numbers = range(first, first + length)
        if there.isdisjoint(numbers):
            tally.add(Tally(spans=[(numbers.start, numbers.stop)]))
            there |= {*numbers}
    left = [number for each in tally.left(mutants, 7) for number in each]
    assert sorted({*left} | there & {*range(mutants)}) == [*range(mutants)]
    assert len(left) == len({*left} - there)
    assert all(1 <= len(each) <= 7 for each in tally.left(mutants, 7))


def test_a_page_has_a_section_for_each_processor() -> None:
    tally = Tally(read=30, read_seconds=3, patched=2, readings={"code": {"read": 20, "NoRoom": 10}})
    tally.patches = {"code": {"patched": 1, "NoRoom": 1}}
    page = page_with("", Campaign(1), tally)
    assert "30 mutants read, 2 of them patched too, seed 1; no findings" in page
    assert "| code | 30 | 10 | 1 | 1 |" in page
    tally.findings.append(Finding(1, "base", "code", "netpoll", "a traceback", "KeyError"))
    both = page_with(page, Campaign(2, ARM64), tally)
    assert both.startswith(page)
    assert "## linux/arm64\n30 mutants read, 2 of them patched too, seed 2; 1 findings" in both
    assert page_with(both, Campaign(1), Tally(read=31)).count("## linux/") == 2
