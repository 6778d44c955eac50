"""Damaged container images: each ends in an error of ours, or in a patch that can be verified and reverted."""

from pathlib import Path

import pytest

from nanonap.base.errors import NanonapError
from nanonap.trials.fuzz.campaign import judge_image_number
from nanonap.trials.fuzz.images import KINDS, draw_image
from nanonap.trials.fuzz.judge import judge_image
from patcher.errors import InternalFault

SEED = 7


@pytest.mark.long
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_every_mutant_ends_in_an_error_of_ours_or_a_right_patch(kind: int, tmp_path: Path) -> None:
    judged = [judge_image_number(kind + turn * len(KINDS), SEED, tmp_path) for turn in range(3)]
    assert {each.kind for each in judged} == {KINDS[kind]}
    assert [(each.number, each.verdict.finding) for each in judged if each.verdict.finding] == []


def test_the_same_seed_gives_the_same_damage() -> None:
    assert draw_image("1", "manifest") == draw_image("1", "manifest") != draw_image("2", "manifest")


@pytest.mark.parametrize("error", [InternalFault("x"), NanonapError(""), ValueError("x")])
def test_what_is_no_error_of_ours_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("patcher.patch_image", fail)
    (tmp_path / "image.tar").write_bytes(b"x")
    assert judge_image(tmp_path / "image.tar").finding


def test_an_output_beside_an_error_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(b"x")
    (tmp_path / "out.tar").write_bytes(b"x")
    assert judge_image(tmp_path / "image.tar").finding == "an error, and an output all the same"
