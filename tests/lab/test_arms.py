"""Arms are found as files, and a missing one is answered with the task that makes it, or made."""

import hashlib
import shutil

import pytest

from nanonap.lab.ground.errors import BadResult, NothingBuilt
from nanonap.lab.plan.arms import ARM_NAMES, DEFAULT_ARMS, UPSTREAM, discover, select
from nanonap.toolchain.build import BENCHED
from patcher import verify
from tests.lab.made import GO, Bench, Roots


def test_every_arm_is_a_file_with_its_method_strategy_and_slack(roots: Roots) -> None:
    names = [name for name in ARM_NAMES if name != "godebug" and not name.startswith("cyclictest")]
    arms = {arm.name: arm for arm in discover(roots.build, roots.patched, GO, names=names)}
    assert list(arms) == names
    found = {name: (arm.method, arm.strategy, arm.slack_ns) for name, arm in arms.items()}
    assert found == {
        "stock": ("sleep", None, None),
        "stock+slack1": ("sleep", "slack", 1),
        "usleep": ("sleep", "usleep", None),
        "sleep": ("sleep", "sleep", None),
        "netpoll": ("sleep", "netpoll", None),
        "netpoll+slack1": ("sleep", "netpoll", 1),
        "stock+prctl": ("sleep", None, 1),
        "live": ("sleep", None, None),
        "live+slack1": ("sleep", None, 1),
        "netpoll+slack1+quantum": ("sleep", "netpoll", 1),
        "netpoll+slack1+spin": ("sleep", "netpoll", 1),
        "rebuilt": ("sleep", None, None),
        "rebuilt+slack1": ("sleep", "slack", 1),
        "upstream": ("sleep", None, None),
        "upstream+slack1": ("sleep", "slack", 1),
        "nanosleep": ("nanosleep", None, None),
        "sleep-then-spin": ("sleep-then-spin", None, None),
        "floor": ("floor", None, None),
        "floor+slack1": ("floor", "slack", 1),
        "control": ("floor", None, None),
    }
    for mode in BENCHED:
        assert arms[mode].path.parent.name == arms[f"{mode}+slack1"].path.parent.name == mode
    assert arms["stock+prctl"].words == [str(roots.built.with_name("slackexec")), "1", str(roots.built)]
    assert arms["floor"].path == arms["stock"].path
    assert arms["floor+slack1"].path == arms["stock+slack1"].path
    assert arms["stock"].sha256 == hashlib.sha256(roots.built.read_bytes()).hexdigest()


def test_nothing_built_names_the_task_that_builds(roots: Roots) -> None:
    roots.built.unlink()
    with pytest.raises(NothingBuilt, match="invoke build"):
        discover(roots.build, roots.patched, GO)


def test_nothing_patched_names_the_task_that_patches(roots: Roots) -> None:
    (roots.patched / GO / "default" / "sleepbench.netpoll").unlink()
    with pytest.raises(NothingBuilt, match="invoke patch"):
        discover(roots.build, roots.patched, GO)
    assert [arm.name for arm in discover(roots.build, roots.patched, GO, names=("stock", "floor"))] == [
        "stock",
        "floor",
    ]


def test_what_is_not_patched_yet_the_bench_patches_first(roots: Roots, bench: Bench) -> None:
    missing = roots.patched / GO / "default" / "sleepbench.netpoll"
    missing.unlink()
    done = bench(quota="none", load="quiet", arms="netpoll", requested="100us")
    assert done.returncode == 0, done.stderr
    assert f"{missing}: not there yet" in done.stderr
    assert verify(missing).manifest.strategy == "netpoll"


def test_a_manifest_that_is_missing_or_broken_is_said_so(roots: Roots) -> None:
    manifest = roots.patched / GO / "default" / "sleepbench.netpoll.patch.json"
    manifest.write_text('{"strategy": "netpoll"}')
    with pytest.raises(BadResult, match="not a patch manifest"):
        discover(roots.build, roots.patched, GO)
    manifest.unlink()
    with pytest.raises(NothingBuilt, match=r"netpoll\.patch\.json: missing"):
        discover(roots.build, roots.patched, GO)


def test_what_cannot_be_had_is_left_out_with_a_note_unless_it_is_named(roots: Roots) -> None:
    shutil.rmtree(roots.build / GO / "rebuilt")
    notes: list[str] = []
    shutil.rmtree(roots.patched / GO / "rebuilt")
    arms = discover(roots.build, roots.patched, GO, names=DEFAULT_ARMS, notes=notes)
    assert [arm.name for arm in arms] == [name for name in DEFAULT_ARMS if name != "rebuilt+slack1"]
    assert len(notes) == 1
    assert notes[0].startswith("arm rebuilt+slack1 is left out: ")
    with pytest.raises(NothingBuilt, match="rebuilt"):
        discover(roots.build, roots.patched, GO, names=("rebuilt",))


def test_what_is_not_optional_is_never_left_out(roots: Roots) -> None:
    (roots.patched / GO / "default" / "sleepbench.netpoll").unlink()
    with pytest.raises(NothingBuilt, match="invoke patch"):
        discover(roots.build, roots.patched, GO, notes=[])


def test_a_release_that_does_not_know_the_setting_has_no_such_arm(roots: Roots) -> None:
    with pytest.raises(NothingBuilt, match="does not know GODEBUG=epollpwait2=1"):
        discover(roots.build, roots.patched, GO, names=("godebug",))
    with roots.built.open("ab") as stream:
        stream.write(b"\0epollpwait2\0")
    [arm] = discover(roots.build, roots.patched, GO, names=("godebug",))
    assert arm.words == ["env", "GODEBUG=epollpwait2=1", str(roots.built)]


def test_cyclictest_is_taken_as_it_is_installed(roots: Roots) -> None:
    where = shutil.which("cyclictest")
    if where is None:
        pytest.skip("needs cyclictest: apt-get install rt-tests")
    [arm] = discover(roots.build, roots.patched, GO, names=("cyclictest",))
    assert (str(arm.path), arm.method, arm.foreign) == (where, "cyclictest", True)


def test_the_question_of_what_precision_costs_takes_the_runtime_that_upstream_plans() -> None:
    assert set(select(None, named="cost")) == {*DEFAULT_ARMS, *UPSTREAM}
    assert select(None, named="article") == select(None) == DEFAULT_ARMS
    assert select("upstream", named="cost") == ("upstream",)
    assert set(UPSTREAM) < set(select(None, every=True))
