"""Which go is used, and in what environment."""

from pathlib import Path

import pytest

from nanonap.toolchain.errors import NoLocalGo, UnusableGo
from nanonap.toolchain.go import Toolchain, binary_toolchain, local_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO


def test_without_a_go_on_path_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoLocalGo, match="--go-binary"):
        local_toolchain()


def test_the_go_on_path_is_found_and_asked_for_its_release(
    monkeypatch: pytest.MonkeyPatch, toolchain: Toolchain
) -> None:
    monkeypatch.setenv("PATH", str(toolchain.go.parent))
    local = local_toolchain()
    assert (local.version, local.go) == (DEFAULT_GO, toolchain.go)


@pytest.mark.parametrize("kind", ["absent", "folder", "not executable", "another program"])
def test_a_file_that_is_no_go_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "go"
    if kind == "folder":
        path.mkdir()
    elif kind == "not executable":
        path.write_text("#!/bin/sh\n")
    elif kind == "another program":
        path = Path("/bin/true")
    with pytest.raises(UnusableGo, match=str(path)):
        binary_toolchain(path)


def test_a_go_older_than_the_programs_need_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.17.13\n")
    old.chmod(0o755)
    with pytest.raises(UnusableGo, match=r"1\.19 or later"):
        binary_toolchain(old)


def test_the_users_own_go_settings_do_not_reach_the_build(
    monkeypatch: pytest.MonkeyPatch, toolchain: Toolchain
) -> None:
    for name in ("GOFLAGS", "GOAMD64", "GOEXPERIMENT", "CGO_CFLAGS", "GOOS"):
        monkeypatch.setenv(name, "theirs")
    environment = toolchain.environment()
    assert "theirs" not in environment.values()
    assert (environment["GOTOOLCHAIN"], environment["GOPROXY"]) == ("local", "off")


def test_the_language_version_is_the_releases_first_two_numbers(toolchain: Toolchain) -> None:
    assert Toolchain("1.23rc2", toolchain.go, None, "", toolchain.cache).language == (1, 23)
    assert toolchain.language == tuple(int(part) for part in DEFAULT_GO.split(".")[:2])
