"""Programs for linux/arm64 are inspected, patched, verified and reverted on any machine."""

import json
import shutil
from pathlib import Path

import pytest

import patcher
from nanonap.toolchain.releases import NEWEST, installed_releases
from patcher.errors import AlreadyPatched, UnsupportedGo
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.golang.seccomp import find_filters
from patcher.golang.waits import NETPOLL
from patcher.wait import Wait
from tests.patcher.arm64.builds import NAMES, build
from tests.soon import soon

RELEASES = installed_releases(say=False)
BUILDS = [(go, mode) for go in RELEASES for mode in NAMES]
QUICK = [BUILDS.index((NEWEST, "default"))]
LONG = [
    BUILDS.index(each) for each in ((NEWEST, "pie"), (NEWEST, "noopt"), (RELEASES[0], "default"), (RELEASES[0], "pie"))
]
WAITS = {
    "precise": Wait(),
    "quantum": Wait(quantum_ns=800_000),
    "dense": Wait(quantum_ns=3_999_999_999, dense_ns=1_234_567_891),
    "spin": Wait(spin_ns=40_000),
    "a long spin": Wait(spin_ns=1_234_567_891),
}


@pytest.fixture(scope="module", params=soon(BUILDS, *QUICK, long=LONG), ids="-".join)
def stock(request: pytest.FixtureRequest) -> Path:
    return build(*request.param)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return Path(shutil.copy2(build(NEWEST), tmp_path / "program"))


def test_a_program_is_patched_verified_and_reverted(stock: Path, tmp_path: Path) -> None:
    out = tmp_path / "patched"
    done = patcher.patch(stock, out, slack_ns=1)
    manifest = done.manifest
    assert (manifest.go.arch, manifest.new_syscalls) == ("arm64", ("epoll_pwait2", "prctl"))
    assert json.loads((tmp_path / "patched.patch.json").read_text())["go"]["arch"] == "arm64"
    assert done.warnings == ()
    assert manifest.proof.cases == manifest.proof.passed > 300
    functions = Functions(read_image(out))
    (call,) = patcher.inspect(out).epoll_calls
    assert call.function == NETPOLL
    assert [(each.function, each.number) for each in patcher.inspect(out).syscalls if each.function == NETPOLL] == [
        (NETPOLL, 441)
    ]
    assert patcher.inspect(out).patched == patcher.inspection.Carried(
        "netpoll", 1, None, None, None, manifest.tool, manifest=True, record=True
    )
    assert functions.image.isa.name == "arm64"
    assert patcher.verify(out).proof == manifest.proof
    done.out.with_name("patched.patch.json").unlink()
    assert patcher.revert(out).by == "record"
    assert out.read_bytes() == stock.read_bytes()


@pytest.mark.parametrize("go", soon(RELEASES, -1, long=(0,)))
@pytest.mark.parametrize("name", [each for each in WAITS if each != "precise"])
def test_every_option_fits_and_is_read_from_the_code(go: str, name: str, tmp_path: Path) -> None:
    """The oldest releases have the least room."""
    wait, out = WAITS[name], tmp_path / "patched"
    patcher.patch(build(go), out, wait=wait)
    seen = patcher.inspect(out).patched
    assert seen is not None
    assert Wait(seen.quantum_ns, seen.dense_ns, seen.spin_ns) == wait


def test_a_stock_program_is_told_as_it_is(program: Path) -> None:
    seen = patcher.inspect(program)
    assert (seen.go.arch, seen.patched) == ("arm64", None)
    assert {name: each.applies for name, each in seen.strategies.items()} == {
        "netpoll": True, "sleep": False, "usleep": False, "slack": True,
    }  # fmt: skip
    assert [(each.strategy, each.reason is None) for each in seen.sleep_paths] == [
        ("netpoll", True), ("sleep", False), ("usleep", False),
    ]  # fmt: skip
    (path,) = (each for each in seen.sleep_paths if each.shape)
    assert "milliseconds at [sp+" in str(path.shape)
    assert {(each.name, each.number) for each in seen.syscalls} >= {("epoll_pwait", 22), ("nanosleep", 101)}
    assert not find_filters(Functions(read_image(program)))


@pytest.mark.parametrize("strategy", ["sleep", "usleep"])
def test_what_has_no_code_is_refused_with_the_reason(program: Path, strategy: str) -> None:
    said = rf"program: strategy {strategy} has no code for arm64; it has some for amd64"
    with pytest.raises(UnsupportedGo, match=said):
        patcher.patch(program, program.with_name("out"), strategy, accept_thread_cost=True)
    assert said.partition(": ")[2] in str(patcher.inspect(program).strategies[strategy].reason)


@pytest.mark.parametrize("slack_ns", [1, 50_000, 1 << 32, (1 << 63) - 1])
def test_a_slack_is_set_and_read_from_the_code(program: Path, slack_ns: int) -> None:
    out = program.with_name("patched")
    assert patcher.patch(program, out, "slack", slack_ns=slack_ns).manifest.new_syscalls == ("prctl",)
    seen = patcher.inspect(out).patched
    assert seen is not None
    assert (seen.strategy, seen.slack_ns) == ("slack", slack_ns)
    with pytest.raises(AlreadyPatched, match=r"already patched \(slack\)"):
        patcher.patch(out, program.with_name("again"))
