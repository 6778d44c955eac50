"""A thousand damaged binaries: each ends in an error of ours or in a right patch, within its time and memory."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanonap.trials.errors import FuzzFound
from nanonap.trials.fuzz import campaign
from nanonap.trials.fuzz.campaign import bases, check_found, judge_number, mutant_of
from nanonap.trials.fuzz.judge import Verdict, judge
from nanonap.trials.fuzz.mutants import Mutant, kinds
from tests.soon import soon

SEED = 20
SHARDS, MUTANTS_A_SHARD = 6, 15  # `invoke fuzz` has thousands


@pytest.mark.parametrize("shard", soon(range(SHARDS), 0, long=(1,)))
def test_every_mutant_ends_in_an_error_of_ours_or_a_right_patch(shard: int, tmp_path: Path) -> None:
    numbers = range(shard * MUTANTS_A_SHARD, (shard + 1) * MUTANTS_A_SHARD)
    judged = [judge_number(number, SEED, tmp_path) for number in numbers]
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
@given(mutant=mutants(), strategy=st.sampled_from(["netpoll", "sleep", "usleep", "slack"]))
def test_any_fields_set_to_anything_do_no_harm(
    mutant: Mutant, strategy: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("mutant") / "mutant"
    mutant.write(next(each for each in bases() if each.name == mutant.base), path)
    assert judge(path, strategy).finding is None


def test_a_number_and_a_seed_give_the_same_mutant_and_every_kind_and_strategy_comes_round() -> None:
    assert mutant_of(17, 3)[1:] == mutant_of(17, 3)[1:]
    assert mutant_of(17, 3)[1] != mutant_of(17, 4)[1]
    drawn = [mutant_of(number, 1) for number in range(400)]
    assert {(base.name, mutant.kind) for base, mutant, _ in drawn} == {
        (base.name, kind) for base in bases() for kind in kinds(base)
    }
    assert {strategy for _, _, strategy in drawn} == {"netpoll", "sleep", "usleep", "slack"}


def test_a_finding_is_kept_with_how_to_repeat_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "judge", lambda *_: Verdict("a traceback", "KeyError: 1", 0.1, 1))
    judged = judge_number(7, 5, tmp_path)
    kept = json.loads((tmp_path / "5-7" / "finding.json").read_text())
    assert kept["again"] == "invoke fuzz --seed 5 --only 7"
    assert (tmp_path / "5-7" / "mutant").stat().st_size == mutant_of(7, 5)[1].size
    with pytest.raises(FuzzFound, match="1 of 1 damaged files"):
        check_found(campaign._document([judged], 5, 1.0))
