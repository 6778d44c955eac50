"""CPU limits that others set above a process: read in real groups, and in shapes that are laid out here."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nanonap.base.errors import UsageError
from nanonap.lab.claims.main import run_claims
from nanonap.lab.ground.errors import BadResult, InsideLimit, NotComparable
from nanonap.lab.judge.compare import compare
from nanonap.lab.quota.above import Above, Bound, LimitsAbove, above_backend, above_group, above_process
from nanonap.lab.quota.above_limit import bites, judged, label, limit_of, merged, refuse_inside, says
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.cgroup import CgroupGroup
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.quota.none import NoGroup
from nanonap.lab.show.report import summarize
from nanonap.lab.show.survey import Survey, show_survey
from tests.lab.made import ENVIRONMENT, FakeRun, above_of, write_result

TELL = (
    "import json; from dataclasses import asdict; from nanonap.lab.quota.above import above_process; "
    "print(json.dumps(asdict(above_process().told())))"
)
#: Commands run where the cgroup file systems are mounted anew, as a container in a cgroup namespace has them.
NAMESPACED = (
    "mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/cpu && mount -t cgroup -o cpu none /sys/fs/cgroup/cpu "
    '&& exec "$@"'
)
HIDDEN = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"'

#: Half a second of CPU time: at 30 % of a CPU no group has it without being stopped.
UNTIL_STOPPED = "import time\nend = time.thread_time() + 0.5\nwhile time.thread_time() < end: pass"


def told(group: CgroupGroup, *around: str, script: str = TELL) -> LimitsAbove:
    """What a process in the group (in the command ``around``) says of the limits above it."""
    command = group.command([*around, sys.executable, "-c", script])
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    return msgspec.json.decode(done.stdout, type=LimitsAbove)


def unshared(*options: str, then: str) -> list[str]:
    return ["unshare", *options, "--mount", "--propagation", "private", "/bin/sh", "-ec", then, "sh"]


def test_a_process_in_a_limited_group_names_it_and_its_stops(limited: CgroupGroup) -> None:
    above = told(limited, script=f"{UNTIL_STOPPED}\n{TELL}")
    tightest = limit_of(above)
    assert tightest is not None
    assert tightest.group.endswith(f"/{limited.folder.name}")
    assert (tightest.quota_ns, tightest.period_ns) == (30_000_000, 100_000_000)
    assert (tightest.nr_periods or 0) >= (tightest.nr_throttled or 0) > 0
    assert (tightest.throttled_ns or 0) > 0
    assert bites(above)
    assert "inside a limit of 30 % of a CPU" in str(label(above))
    assert f"stopped it in {tightest.nr_throttled} of {tightest.nr_periods} periods" in says(above)


def test_the_smallest_share_on_the_way_up_is_the_limit(limited: CgroupGroup) -> None:
    for quota_us, inner_is_tighter in (("-1", False), ("20000", True)):
        inner = limited.folder / "inner"
        inner.mkdir(exist_ok=True)
        if limited.backend == "cgroup1":
            (inner / "cpu.cfs_quota_us").write_text(quota_us)
        move = f'echo $$ > "{inner}/cgroup.procs"; exec "$@"'
        tightest = limit_of(told(limited, "/bin/sh", "-c", move, "sh"))
        assert tightest is not None
        assert tightest.group.endswith("/inner") == inner_is_tighter
        assert tightest.quota_ns == (20_000_000 if inner_is_tighter else 30_000_000)


def test_what_limits_a_group_of_ours_is_above_it_and_not_its_own_quota(backend: Backend) -> None:
    with backend.open(Limits(parse_quota("50%"))) as group:
        assert not any(group.effective.quota == each.quota for each in above_group(group).bounds)
    assert above_backend(backend).bounds == above_process().bounds
    assert above_group(NoGroup()) == above_process()


def test_the_stops_of_a_run_are_read_where_its_own_group_and_those_above_are_counted(limited: CgroupGroup) -> None:
    files = limited.stat_files
    assert files is not None
    local = files.cpu_stat.with_name("cpu.stat.local")
    bound = Bound("/a", files.version, limited.effective.quota, files.cpu_stat)
    assert Above().stops_of(limited) == files.cpu_stat
    assert Above().stops_of(NoGroup()) is None
    assert Above((bound,), stopped=Path("/a/cpu.stat.local")).stops_of(limited) == (
        local if local.exists() else files.cpu_stat
    )
    assert Above((bound,)).stops_of(NoGroup()) == files.cpu_stat
    assert Above((bound,), stopped=files.cpu_stat).stops_of(NoGroup()) == files.cpu_stat


def test_without_a_limit_it_says_so() -> None:
    above = above_process().told()
    if above.groups or above.unseen:
        pytest.skip(
            "needs a machine without a CPU limit, whose groups are all seen: run the tests outside of containers"
        )
    assert not bites(above)
    assert label(above) is None
    assert "No group above limits its CPU time." in says(above)


@pytest.fixture
def v1(limited: CgroupGroup) -> CgroupGroup:
    if limited.backend != "cgroup1":
        pytest.skip("needs the cpu controller in a cgroup v1 hierarchy: `mount -t cgroup -o cpu cgroup DIR` as root")
    return limited


def test_in_a_namespace_without_a_mount_of_its_own_the_group_is_still_found(v1: CgroupGroup) -> None:
    above = told(v1, *unshared("--cgroup", then='exec "$@"'))
    assert [each.quota_ns for each in above.groups] == [30_000_000]
    assert above.groups[0].group.endswith(f"/{v1.folder.name}")
    assert above.unseen is None


def test_the_root_of_a_namespace_shows_its_own_limit_and_that_there_is_more_above(v1: CgroupGroup) -> None:
    above = told(v1, *unshared("--cgroup", then=NAMESPACED))
    assert [(each.group, each.quota_ns) for each in above.groups] == [("/", 30_000_000)]
    assert "the groups above /" in str(above.unseen)
    assert bites(above)
    assert "cannot be seen from here" in says(above)


def test_a_limit_outside_of_the_namespace_is_known_by_its_stops(v1: CgroupGroup) -> None:
    (v1.folder / "inner").mkdir()
    move = f'echo $$ > "{v1.folder}/inner/cgroup.procs"; exec "$@"'
    around = ["/bin/sh", "-c", move, "sh", *unshared("--cgroup", then=NAMESPACED)]
    above = told(v1, *around, script=f"{UNTIL_STOPPED}\n{TELL}")
    assert above.groups == []
    assert label(above) == "limits above cannot be seen from here"
    if above.stopped_ns is None:
        assert not bites(above)
        assert "this kernel does not count such stops" in says(above)
    else:
        assert above.stopped_ns > 0
        assert bites(above)
        assert "one of them stopped the programs' group for" in says(above)


def test_where_no_cgroup_file_system_is_mounted_it_does_not_say_that_there_is_no_limit(v1: CgroupGroup) -> None:
    above = told(v1, *unshared(then=HIDDEN))
    assert above.groups == []
    assert v1.folder.name in str(above.unseen)
    assert "cannot be seen from here" in says(above)


def test_a_quota_of_all_the_cpus_that_may_be_used_does_not_bite_and_is_named() -> None:
    above = above_of(200_000_000)
    assert not bites(above)
    assert label(above) == "inside a limit of 200 % of a CPU, enough for the 2 CPUs that may be used (group /a)"
    assert bites(above_of(199_000_000))
    assert not bites(above_of(100_000_000, cpus=1))


def test_cpus_that_may_not_be_used_are_shown_and_are_no_limit() -> None:
    above = above_of(0, cpus=1, groups=[], cpuset="0")
    assert not bites(above)
    assert label(above) is None
    assert says(above) == "No group above limits its CPU time. Of 2 CPUs 1 may be used (the groups allow 0)."


def test_the_stops_of_many_runs_are_added_up_by_group() -> None:
    both = merged([above_of(30_000_000), None, above_of(30_000_000)])
    assert both is not None
    assert [(each.nr_periods, each.nr_throttled, each.throttled_ns) for each in both.groups] == [(20, 8, 14)]
    assert merged([None]) is None
    assert says(None) == ""


def test_a_limit_is_refused_with_the_way_out_unless_it_is_meant(tmp_path: Path) -> None:
    above = Above(bounds=(Bound("/a", 2, parse_quota("30%"), tmp_path / "cpu.stat"),))
    with pytest.raises(InsideLimit, match=r"the group /a above may use 30 % of a CPU, less than .*--inside-limit"):
        refuse_inside([Above(), above], inside_limit=False)
    refuse_inside([above], inside_limit=True)
    refuse_inside([Above()], inside_limit=False)


def runs_inside(*aboves: LimitsAbove | dict[str, Any] | None) -> list[FakeRun]:
    """A run of stock in each."""
    return [
        FakeRun("stock", {100_000: [1_100_000 + 1_000 * number]}, number, change={"above": above})
        for number, above in enumerate(aboves)
    ]


def warnings_of(folder: Path) -> list[str]:
    return summarize(folder).warnings


def test_stops_by_a_limit_that_leaves_all_cpus_are_warned_of(tmp_path: Path) -> None:
    told = warnings_of(write_result(tmp_path, runs_inside(above_of(200_000_000))))
    assert any("/a is enough for this process, and that stopped it in 4 of 10 periods" in each for each in told)


def test_a_limit_that_changes_meanwhile_is_warned_of(tmp_path: Path) -> None:
    told = warnings_of(write_result(tmp_path, runs_inside(above_of(30_000_000), above_of(40_000_000))))
    assert any("the limit above changed while it was measured (/a)" in each for each in told)


def test_results_that_do_not_know_say_nothing_of_it(tmp_path: Path) -> None:
    summary = summarize(write_result(tmp_path, runs_inside(None)))
    assert summary.above is None
    assert "limit" not in " ".join(summary.warnings)


@pytest.mark.parametrize("change", [{"groups": [{"group": "/a"}]}, {"cpus": "2"}, {"unseen": 3}, {"groups": None}])
def test_a_result_whose_limit_is_not_one_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = write_result(tmp_path, runs_inside({**asdict(above_of(30_000_000)), **change}))
    with pytest.raises(BadResult, match=r"line 1: .* `\$\.above\."):
        summarize(folder)


def test_results_of_different_limits_do_not_compare(tmp_path: Path) -> None:
    inside, outside = (above_of(30_000_000), None)
    a = write_result(tmp_path / "a", runs_inside(inside))
    b = write_result(tmp_path / "b", runs_inside(outside))
    with pytest.raises(NotComparable, match=r"a inside a limit of 30 % .* and .*b outside of one"):
        compare(a, b)


@pytest.mark.parametrize("call", ["run_experiment('quota-limits', quick=True)", "run_claims(only='Q1')"])
def test_experiments_and_claims_are_refused_inside_a_limit(limited: CgroupGroup, call: str) -> None:
    script = f"""
from nanonap.lab.claims.main import run_claims
from nanonap.lab.claims.main import run_claims
from nanonap.lab.judge.compare import compare
from nanonap.lab.ground.errors import BadResult, InsideLimit, NotComparable
from nanonap.lab.experiments.main import run_experiment
try:
    {call}
except InsideLimit as error:
    print(error.exit_code)
"""
    argv = limited.command([sys.executable, "-c", script])
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout == "49\n"


def test_the_page_of_claims_is_not_made_inside_a_limit() -> None:
    with pytest.raises(UsageError, match="give --out DIR with --inside-limit"):
        run_claims(inside_limit=True)


def test_quota_shows_the_limits_above(capsys: pytest.CaptureFixture[str]) -> None:
    show_survey(Survey(None, judged(above_of(30_000_000)), []))
    assert "Inside a CPU limit: the group /a above may use 30 % of a CPU" in " ".join(capsys.readouterr().out.split())
