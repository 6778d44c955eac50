"""What is read from /proc and from a group's files, in the forms that the kernel documents."""

from pathlib import Path

import pytest

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota import cgroup1, cgroup2
from nanonap.lab.quota.base import Throttling
from nanonap.lab.quota.cgroup import own_folder, unescape
from nanonap.lab.quota.limits import Limits, Quota

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_the_cpu_hierarchy_is_found_by_its_option_not_by_its_folder() -> None:
    assert cgroup1.find_mount(HYBRID, "cpu") == ("/", "/sys/fs/cgroup/cpu,cpuacct")
    assert cgroup1.find_mount(UNIFIED, "cpu") is None
    assert cgroup2.find_mount(HYBRID) == ("/", "/sys/fs/cgroup/unified")
    assert cgroup2.find_mount(UNIFIED) == ("/", "/sys/fs/cgroup")


def test_a_mount_point_with_a_blank_is_read_right() -> None:
    assert unescape(r"/mnt/my\040groups") == "/mnt/my groups"


def test_the_own_group_is_named_by_the_line_of_its_hierarchy() -> None:
    cgroups = "3:cpuset:/a\n2:cpu,cpuacct:/b/c\n0::/d\n"
    assert cgroup1.own_path(cgroups, "cpu") == "/b/c"
    assert cgroup2.own_path(cgroups) == "/d"
    assert cgroup1.own_path("0::/d\n", "cpu") == "/"


@pytest.mark.parametrize(
    ("root", "own", "folder"),
    [
        ("/", "/", "/cg"),
        ("/", "/user.slice/a", "/cg/user.slice/a"),
        ("/docker/abc", "/docker/abc", "/cg"),
        ("/docker/abc", "/docker/abc/deep", "/cg/deep"),
        ("/docker/abc", "/elsewhere", "/cg"),
        ("/", "/../outside", "/cg"),
    ],
)
def test_the_own_group_is_seen_below_the_mount(root: str, own: str, folder: str) -> None:
    assert own_folder(root, "/cg", own) == Path(folder)


# This machine's cgroup v2 has no cpu controller (v1 holds it), so the files are laid out here as documented.


def _group(folder: Path) -> cgroup2.Cgroup2Group:
    group = cgroup2.Cgroup2Group.__new__(cgroup2.Cgroup2Group)
    group.folder = folder
    group.folders = [folder]
    return group


def test_cgroup2_writes_and_reads_cpu_max_in_microseconds(tmp_path: Path) -> None:
    group = _group(tmp_path)
    half = Limits(Quota(50_000_000, 100_000_000))
    group.write_limits(half)
    assert (tmp_path / "cpu.max").read_text() == "50000 100000"
    assert group.read_limits() == half
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert group.read_limits() == Limits()


def test_cgroup2_reads_burst_weight_and_memory(tmp_path: Path) -> None:
    files = {"cpu.max": "50000 100000", "cpu.max.burst": "25000", "cpu.weight": "200", "memory.max": "1048576"}
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert cgroup2.read_limits(tmp_path) == Limits(Quota(50_000_000, 100_000_000, 25_000_000), 200, 1 << 20)
    (tmp_path / "memory.max").write_text("max\n")
    assert cgroup2.read_limits(tmp_path).memory_bytes is None


def test_cgroup2_says_that_a_kernel_before_burst_has_none(tmp_path: Path) -> None:
    with pytest.raises(QuotaUnavailable, match=r"no burst; boot Linux 5\.14"):
        _group(tmp_path).write_limits(Limits(Quota(50_000_000, 100_000_000, 1_000_000)))


def test_cgroup2_counts_throttled_time_in_microseconds(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text(
        "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 10\nnr_throttled 4\nthrottled_usec 123456\n"
        "nr_bursts 3\nburst_usec 7\n"
    )
    assert _group(tmp_path).counters() == Throttling(10, 4, 123_456_000, 3, 7_000, 5_000)


def _hierarchy(top: Path, controllers: dict[str, str]) -> None:
    for name, subtree in controllers.items():
        folder = top / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text("")
        (folder / "cgroup.subtree_control").write_text(subtree)


def test_cgroup2_takes_the_nearest_group_that_hands_out_the_cpu_controller(tmp_path: Path) -> None:
    _hierarchy(tmp_path, {".": "cpu memory", "user.slice": "cpu memory", "user.slice/a.scope": ""})
    # A scope with processes in it refuses to hand out controllers; a file that cannot be written stands for that.
    (tmp_path / "user.slice/a.scope/cgroup.subtree_control").unlink()
    (tmp_path / "user.slice/a.scope/cgroup.subtree_control").mkdir()
    backend = cgroup2.Cgroup2Backend()
    own = tmp_path / "user.slice/a.scope"
    with pytest.raises(OSError, match=r"Is a directory|directory"):
        backend._enable(own)
    assert backend._choose_parent(own, tmp_path) == tmp_path / "user.slice"


def test_cgroup2_passes_over_a_group_with_processes_and_a_threaded_one(tmp_path: Path) -> None:
    own = tmp_path / "a.slice/b.scope"
    _hierarchy(tmp_path, {".": "cpu", "a.slice": "cpu", "a.slice/b.scope": ""})
    for folder, kind in ((own, "domain"), (own.parent, "domain threaded")):
        (folder / "cgroup.type").write_text(f"{kind}\n")
    (own / "cgroup.procs").write_text("1\n")
    assert cgroup2.Cgroup2Backend()._choose_parent(own, tmp_path) == tmp_path
    assert (own / "cgroup.subtree_control").read_text() == ""


def test_cgroup2_refuses_a_group_that_can_hold_no_process(tmp_path: Path) -> None:
    (tmp_path / "cgroup.type").write_text("domain invalid\n")
    with pytest.raises(QuotaUnavailable, match="can hold no processes"):
        _group(tmp_path).write_limits(Limits(Quota(50_000_000, 100_000_000)))


def test_cgroup2_enables_the_controller_and_takes_it_back(tmp_path: Path) -> None:
    _hierarchy(tmp_path, {".": "memory"})
    backend = cgroup2.Cgroup2Backend()
    assert backend._choose_parent(tmp_path, tmp_path) == tmp_path
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
    backend.close()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "-cpu"


def test_cgroup2_says_why_it_cannot_be_used_here_if_it_cannot() -> None:
    controllers = Path("/sys/fs/cgroup/unified/cgroup.controllers")
    if not controllers.exists() or "cpu" in controllers.read_text().split():
        pytest.skip("needs a machine whose cgroup v2 has no cpu controller (hybrid mode: boot without cgroup_no_v1)")
    with pytest.raises(QuotaUnavailable, match="no cpu controller") as caught:
        cgroup2.Cgroup2Backend().prepare()
    assert "cgroup_no_v1" in caught.value.remedy
