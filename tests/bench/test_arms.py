"""Arms are found as files, and a missing one is answered with the task that makes it."""

import hashlib

import pytest

from bench.arms import ARM_NAMES, discover
from bench.errors import BadResult, NothingBuilt
from tests.bench.made import GO, Roots


def test_every_arm_is_a_file_with_its_method_strategy_and_slack(roots: Roots) -> None:
    arms = {arm.name: arm for arm in discover(roots.build, roots.patched, GO)}
    assert tuple(arms) == ARM_NAMES
    found = {name: (arm.method, arm.strategy, arm.slack_ns) for name, arm in arms.items()}
    assert found == {
        "stock": ("sleep", None, None),
        "stock+slack1": ("sleep", "slack", 1),
        "usleep": ("sleep", "usleep", None),
        "sleep": ("sleep", "sleep", None),
        "netpoll": ("sleep", "netpoll", None),
        "netpoll+slack1": ("sleep", "netpoll", 1),
        "floor": ("floor", None, None),
        "floor+slack1": ("floor", "slack", 1),
    }
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


def test_a_manifest_that_is_missing_or_broken_is_said_so(roots: Roots) -> None:
    manifest = roots.patched / GO / "default" / "sleepbench.netpoll.patch.json"
    manifest.write_text('{"strategy": "netpoll"}')
    with pytest.raises(BadResult, match="not a patch manifest"):
        discover(roots.build, roots.patched, GO)
    manifest.unlink()
    with pytest.raises(NothingBuilt, match=r"netpoll\.patch\.json: missing"):
        discover(roots.build, roots.patched, GO)
