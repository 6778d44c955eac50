"""Links: what they name is reverted and they stay; other names of a file are mentioned."""

import json
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import OutputExists
from tests.patcher.conftest import Invoke


@pytest.fixture
def patched(program: Path) -> patcher.Patched:
    """A patch of every kind of edit at once; the original is gone."""
    done = patcher.patch(program, program.with_name("out"), "usleep", slack_ns=1)
    program.unlink()
    return done


@pytest.fixture
def link(patched: patcher.Patched) -> Path:
    """A link from elsewhere to a patched file, by another link."""
    folder = patched.out.with_name("bin")
    folder.mkdir()
    (folder / "between").symlink_to("../out")
    (folder / "app").symlink_to("between")
    return folder / "app"


def test_a_link_stays_and_what_it_names_is_reverted(
    invoke: Invoke, patched: patcher.Patched, link: Path, sleepbench: Path
) -> None:
    assert invoke("verify", link).status == 0
    assert json.loads(invoke("inspect", link, "--json").out)["patched"]["manifest"]
    answer = invoke("revert", link)
    assert answer.status == 0
    assert answer.out.startswith(f"{patched.out}: the original, byte for byte")
    assert link.is_symlink()
    assert patched.out.read_bytes() == sleepbench.read_bytes()
    assert sorted(each.name for each in patched.out.parent.rglob("*")) == ["app", "between", "bin", "out"]


def test_a_manifest_beside_the_link_is_found(patched: patcher.Patched, link: Path, sleepbench: Path) -> None:
    beside = Path(f"{patched.out}.patch.json").rename(f"{link}.patch.json")
    assert patcher.verify(link).by == "manifest"
    assert patcher.inspect(link).patched is not None
    assert patcher.revert(link).by == "manifest"
    assert patched.out.read_bytes() == sleepbench.read_bytes()
    assert not beside.exists()


def test_a_patch_through_a_link_is_written_where_it_leads(program: Path) -> None:
    folder = program.with_name("opt")
    folder.mkdir()
    link = program.with_name("link")
    link.symlink_to("opt/app")
    for force in (False, True):  # not there yet; there
        assert patcher.patch(program, link, force=force).out == folder / "app"
        assert link.is_symlink()
        assert patcher.verify(link).path == link
    with pytest.raises(OutputExists):
        patcher.patch(program, link)
    assert sorted(each.name for each in folder.iterdir()) == ["app", "app.patch.json"]


def test_another_name_of_the_file_is_mentioned(invoke: Invoke, patched: patcher.Patched) -> None:
    other = patched.out.with_name("other")
    other.hardlink_to(patched.out)
    content = other.read_bytes()
    answer = invoke("revert", patched.out)
    assert answer.status == 0
    assert "warning: " in answer.out
    assert "another name (hard links), which keep the patched bytes" in answer.out
    assert other.read_bytes() == content
