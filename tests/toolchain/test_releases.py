"""Releases by name: the pinned wheels, and the one that only the system packages."""

from pathlib import Path

import pytest

from nanonap.toolchain import releases
from nanonap.toolchain.errors import ToolchainUnavailable, UnknownGoVersion, UnusableGo
from nanonap.toolchain.go import wheel_toolchain
from nanonap.toolchain.releases import (
    SYSTEM,
    SystemGo,
    full_version,
    installed_releases,
    known_releases,
    release_toolchain,
)
from nanonap.toolchain.wheels import DEFAULT_GO, WHEELS

OLD = next(iter(SYSTEM))


def with_system_go(monkeypatch: pytest.MonkeyPatch, go: Path) -> None:
    monkeypatch.setattr(releases, "SYSTEM", {OLD: SystemGo(OLD, go, "golang-1.19-go")})


def test_every_wheel_and_system_release_has_a_name_and_a_short_one() -> None:
    assert known_releases() == [*SYSTEM, *WHEELS]
    assert [full_version(each.rpartition(".")[0]) for each in known_releases()] == known_releases()
    assert release_toolchain("1.27") == wheel_toolchain(DEFAULT_GO)


def test_an_unknown_release_is_refused_and_the_known_are_listed() -> None:
    with pytest.raises(UnknownGoVersion) as raised:
        release_toolchain("1.0.0")
    assert all(version in str(raised.value) for version in known_releases())


def test_a_system_release_that_is_not_installed_says_how_to_get_it_and_is_left_out_of_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_system_go(monkeypatch, tmp_path / "go")
    with pytest.raises(ToolchainUnavailable, match=r"apt-get install golang-1\.19-go"):
        release_toolchain("1.19")
    assert installed_releases() == list(WHEELS)
    assert f"Go {OLD} is left out" in capsys.readouterr().err


def test_a_system_go_of_another_release_is_not_taken_for_the_one_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "go"
    other.write_text("#!/bin/sh\necho go1.20.1\n")
    other.chmod(0o755)
    with_system_go(monkeypatch, other)
    with pytest.raises(UnusableGo, match=r"is Go 1\.20\.1, not 1\.19\.8"):
        release_toolchain(OLD)
