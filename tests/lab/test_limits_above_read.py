"""What is read of cgroup v2, namespaces and hidden mounts, of files laid out as kernels and containers have them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from nanonap.lab.quota.above import Above, LimitsAbove, above_process
from nanonap.lab.quota.above_limit import bites, label, limit_of, quota_above, says

ROOT_OF_V2 = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate"
HYBRID = f"""\
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
{ROOT_OF_V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")}"""


V2 = "/sys/fs/cgroup"


def laid_out(root: Path, mountinfo: str, cgroup: str, groups: dict[str, str]) -> LimitsAbove:
    """What is read where ``groups`` (folder → text of cpu.max) are; with a cgroup.type if it is not the true root."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text(mountinfo + "\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    for folder, limit in groups.items():
        at = root / folder.lstrip("/")
        at.mkdir(parents=True, exist_ok=True)
        (at / "cgroup.procs").write_text("")
        if limit != "root":
            (at / "cgroup.type").write_text("domain\n")
            (at / "cpu.stat").write_text("usage_usec 9\nnr_periods 7\nnr_throttled 3\nthrottled_usec 5\n")
        if limit not in ("root", ""):
            (at / "cpu.max").write_text(f"{limit}\n")
    return above_process(root).told()


def seen(above: LimitsAbove) -> list[tuple[str, float]]:
    return [(each.group, each.quota_ns / each.period_ns) for each in above.groups]


def test_v2_names_every_quota_on_the_way_up_and_takes_the_smallest_share(tmp_path: Path) -> None:
    # The controller is not handed out to the innermost, and max is no limit.
    groups = {V2: "root", f"{V2}/a": "50000 1000000", f"{V2}/a/b": "150000 100000", f"{V2}/a/b/c": "max 100000"}
    above = laid_out(tmp_path, ROOT_OF_V2, "0::/a/b/c/d\n", {**groups, f"{V2}/a/b/c/d": "", f"{V2}/x": "1000 100000"})
    assert seen(above) == [("/a/b", 1.5), ("/a", 0.05)]
    tightest = limit_of(above)
    assert tightest is not None
    assert (tightest.group, tightest.nr_periods, tightest.throttled_ns) == ("/a", 7, 5_000)
    assert above.unseen is None
    assert "/a/b (150 %" in says(above)


def test_v2_reads_the_burst(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/cgroup/a").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/a/cpu.max.burst").write_text("20000\n")
    above = laid_out(tmp_path, ROOT_OF_V2, "0::/a\n", {V2: "root", f"{V2}/a": "50000 100000"})
    assert above.groups[0].burst_ns == 20_000_000
    assert "burst 20.0 ms" in says(above)


def test_v2_in_a_container_shows_its_own_limit_and_not_what_is_above(tmp_path: Path) -> None:
    above = laid_out(tmp_path, ROOT_OF_V2, "0::/\n", {V2: "25000 100000"})
    assert seen(above) == [("/", 0.25)]
    assert "the groups above /" in str(above.unseen)


def test_v2_in_a_container_without_a_limit_of_its_own_is_not_called_unlimited(tmp_path: Path) -> None:
    above = laid_out(tmp_path, ROOT_OF_V2, "0::/\n", {V2: "max 100000"})
    assert seen(above) == []
    assert not bites(above)
    assert label(above) == "limits above cannot be seen from here"


def test_a_mount_of_a_subtree_names_the_group_and_says_what_is_not_shown(tmp_path: Path) -> None:
    mountinfo = ROOT_OF_V2.replace("0:26 / ", "0:26 /docker/4f1c ")
    above = laid_out(tmp_path, mountinfo, "0::/docker/4f1c/deep\n", {V2: "25000 100000", f"{V2}/deep": ""})
    assert seen(above) == [("/docker/4f1c", 0.25)]
    assert "the groups above /docker/4f1c" in str(above.unseen)


def test_a_mount_that_shows_more_is_preferred(tmp_path: Path) -> None:
    part = "31 23 0:26 /a/b /part rw - cgroup2 cgroup2 rw"
    groups = {"/part": "max 100000", V2: "root", f"{V2}/a": "10000 100000", f"{V2}/a/b": "max 100000"}
    above = laid_out(tmp_path, f"{part}\n{ROOT_OF_V2}", "0::/a/b\n", groups)
    assert seen(above) == [("/a", 0.1)]
    assert above.unseen is None


def test_a_group_outside_of_the_namespace_is_not_taken_for_its_root(tmp_path: Path) -> None:
    above = laid_out(tmp_path, ROOT_OF_V2, "0::/../other\n", {V2: "25000 100000"})
    assert seen(above) == []
    assert "/../other" in str(above.unseen)


def test_a_group_that_has_no_name_in_the_namespace_is_found_by_its_process(tmp_path: Path) -> None:
    groups = {V2: "root", f"{V2}/a": "max 100000", f"{V2}/a/b": "25000 100000", f"{V2}/a/c": "1000 100000"}
    mine = tmp_path / "sys/fs/cgroup/a/b"
    laid_out(tmp_path, ROOT_OF_V2.replace("0:26 / ", "0:26 /../.. "), "0::/\n", groups)
    (mine / "cgroup.procs").write_text(f"{os.getpid()}\n")
    assert seen(above_process(tmp_path).told()) == [("/a/b", 0.25)]


def test_a_mount_that_another_one_hides_shows_nothing(tmp_path: Path) -> None:
    hidden, fresh = (
        ROOT_OF_V2.replace("0:26 / ", "0:26 /.. "),
        "46 45 0:26 / /sys/fs/cgroup/v2 rw,relatime - cgroup2 none rw",
    )
    laid_out(tmp_path, f"{hidden}\n{fresh}", "0::/\n", {f"{V2}/v2": "25000 100000"})
    (tmp_path / "sys/fs/cgroup/v2/cgroup.procs").write_text(f"{os.getpid()}\n")
    above = above_process(tmp_path).told()
    assert seen(above) == [("/", 0.25)]
    assert "the groups above /" in str(above.unseen)


def test_where_v1_has_the_controller_v2_is_not_asked(tmp_path: Path) -> None:
    v1_root, own = tmp_path / "sys/fs/cgroup/cpu,cpuacct", tmp_path / "sys/fs/cgroup/cpu,cpuacct/a"
    own.mkdir(parents=True)
    (v1_root / "release_agent").write_text("")
    for folder, quota in ((v1_root, "-1"), (own, "40000")):
        (folder / "cgroup.procs").write_text("")
        (folder / "cpu.cfs_quota_us").write_text(quota)
        (folder / "cpu.cfs_period_us").write_text("100000")
        (folder / "cpu.stat").write_text("nr_periods 2\nnr_throttled 1\nthrottled_time 6\n")
    groups = {f"{V2}/unified": "root", f"{V2}/unified/b": "10000 100000"}
    above = laid_out(tmp_path, HYBRID, "4:cpu,cpuacct:/a\n0::/b\n", groups)
    assert seen(above) == [("/a", 0.4)]
    assert above.groups[0].throttled_ns == 6
    assert above.unseen is None


@pytest.mark.parametrize(
    ("link", "own", "told_unseen"),
    [("cgroup:[4026531835]", "/", False), ("cgroup:[4026532178]", "/", True), ("cgroup:[4026531835]", "/a", True)],
    ids=["the machine's root", "a namespace's root", "a group"],
)
def test_without_a_mount_only_the_root_of_the_machine_has_nothing_above(
    tmp_path: Path, link: str, own: str, told_unseen: bool
) -> None:
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/cgroup").symlink_to(link)
    (tmp_path / "proc/self/mountinfo").write_text("")
    (tmp_path / "proc/self/cgroup").write_text(f"0::{own}\n")
    assert (above_process(tmp_path).unseen is not None) == told_unseen


def test_a_kernel_without_cgroups_limits_nothing_and_no_proc_says_nothing(tmp_path: Path) -> None:
    assert above_process(tmp_path).unseen == "this process's groups, since /proc is not mounted"
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("")
    assert above_process(tmp_path) == Above()


def test_a_limit_that_cannot_be_seen_bites_beside_one_that_leaves_all_cpus(tmp_path: Path) -> None:
    """A container with a quota of many CPUs, in a service with a small one."""
    above = laid_out(tmp_path, ROOT_OF_V2, "0::/\n", {V2: "6400000 100000"})
    assert not bites(above)
    stopped = replace(above, stopped_ns=7_000_000)
    assert bites(stopped)
    assert "enough" not in str(label(stopped)) + says(stopped)
    assert quota_above(stopped) is None
