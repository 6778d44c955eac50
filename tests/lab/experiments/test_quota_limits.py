"""quota-limits on the real kernel, its verdict on made data; the door: one document, judged again from its folder."""

import json
import os
import signal
from pathlib import Path

import polars as pl
import pytest

from nanonap.base.errors import UsageError
from nanonap.base.processes import is_alive
from nanonap.lab.experiments.kit.base import Setting, Verdict
from nanonap.lab.experiments.main import DATA, EXPERIMENTS, judged, make_experiment
from nanonap.lab.experiments.quota_limits.experiment import SCHEMA, QuotaLimits
from nanonap.lab.ground.errors import BadResult, QuotaUnavailable, RunFailed
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.cgroup import CgroupBackend, owner_of
from nanonap.toolchain.build import build
from tests import warm
from tests.patience import PATIENCE_S, wait_until

Pairs = dict[tuple[str, int], bool]
KERNEL: Pairs = {
    ("1000", 1_000): True,
    ("1000", 999): False,
    ("50000", 1_000_000): True,
    ("50000", 1_000_001): False,
    ("-1", 100_000): True,
    ("max", 100_000): False,
}


def made(change: Pairs) -> pl.DataFrame:
    rows = [(*pair, ok, "" if ok else "EINVAL", "") for pair, ok in {**KERNEL, **change}.items()]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_the_kernel_takes_1_ms_to_1_s_and_leaves_no_group(setting: Setting) -> None:
    data = QuotaLimits().run(setting)
    taken = {(quota, period): ok for quota, period, ok in data.select("quota", "period_us", "accepted").iter_rows()}
    assert taken["1000", 1_000] and taken["50000", 1_000_000]
    refused = [("999", 1_000), ("1000", 999), ("1", 100_000), ("50000", 1_000_001), ("50000", 0)]
    assert not any(taken[pair] for pair in refused)
    assert set(data.filter(~pl.col("accepted"))["errno"].to_list()) == {"EINVAL"}
    assert taken["-1", 100_000] != taken["max", 100_000]
    (verdict,) = QuotaLimits().judge(data)
    assert verdict.figures["one_ms_accepted"] is True
    (table,) = QuotaLimits().tables(data)
    assert len(table.sections[0].rows) == data.height


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({("1000", 1_000): False}, "holds"),
        ({}, "holds in part"),
        ({("50000", 1_000_001): True, ("-1", 100_000): False, ("max", 100_000): True}, "refuted"),
    ],
)
def test_the_verdict_follows_what_was_accepted(change: Pairs, outcome: str) -> None:
    (verdict,) = QuotaLimits().judge(made(change))
    assert (verdict.claim, verdict.outcome) == ("Q1", outcome)


def test_a_refusal_and_a_fault_in_the_other_process_are_told_apart(setting: Setting) -> None:
    with pytest.raises(QuotaUnavailable) as refusal:
        setting.call_beside_groups("tests.lab.experiments.faults:refuse", 30)
    assert (refusal.value.backend, refusal.value.reason, refusal.value.remedy) == ("some", "a reason", "a remedy")
    with pytest.raises(RunFailed, match="ZeroDivisionError"):
        setting.call_beside_groups("tests.lab.experiments.faults:fail", 30)
    with pytest.raises(RunFailed, match="still running after 1 s"):
        setting.call_beside_groups("tests.lab.experiments.faults:hang", 1)


def test_invoke_gives_one_document_and_the_folder_is_judged_again_the_same(backend: Backend, tmp_path: Path) -> None:
    build()
    out = tmp_path / "kept"
    done = warm.run([warm.INVOKE, "experiment", "quota-limits", "--quick", "--json", "--out", out])
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["backend"]["name"] == backend.name
    assert [Verdict(**each).claim for each in document["verdicts"]] == ["Q1"]
    again = judged(out)
    assert json.loads(json.dumps(again.to_json())) == document
    pl.read_parquet(out / DATA).with_columns(accepted=pl.lit(value=False)).write_parquet(out / DATA)
    assert judged(out).verdicts != again.verdicts


def test_sigterm_ends_an_experiment_and_what_it_started(backend: Backend, tmp_path: Path) -> None:
    if not isinstance(backend, CgroupBackend):
        pytest.skip(f"needs a backend whose groups are folders here, and {backend.name} has none")
    build()
    child = warm.start([warm.INVOKE, "experiment", "bandwidth", "--quick", "--out", tmp_path / "none"])
    try:
        wait_until(lambda: child.poll() is not None or bool(_groups_below(backend, child.pid)))
        os.kill(child.pid, signal.SIGTERM)
        _, said = child.communicate(timeout=PATIENCE_S)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 130, said
    assert "Traceback" not in said
    assert not (tmp_path / "none").exists()
    wait_until(lambda: not _orphans(backend), lambda: _orphans(backend))


def _groups_below(backend: CgroupBackend, pid: int) -> list[str]:
    """The groups of the process's children; others may run their own at the same time."""
    owners = [owner_of(folder.name) or "" for folder in backend.parent.glob("nanonap-*")]
    statuses = [Path("/proc", owner.partition("-")[0], "status") for owner in owners]
    return [str(each) for each in statuses if each.exists() and f"\nPPid:\t{pid}\n" in each.read_text()]


def _orphans(backend: CgroupBackend) -> list[str]:
    owners = {folder.name: owner_of(folder.name) for folder in backend.parent.glob("nanonap-*")}
    return [name for name, owner in owners.items() if owner is not None and not is_alive(owner)]


def test_every_experiment_can_be_made_and_says_what_it_expects() -> None:
    for name in EXPERIMENTS:
        experiment = make_experiment(name)
        assert experiment.name == name
        assert experiment.question.endswith("?") and experiment.expects
    with pytest.raises(UsageError, match="quota-limits"):
        make_experiment("nothing")


def test_another_folder_is_not_an_experiments(tmp_path: Path) -> None:
    with pytest.raises(BadResult):
        judged(tmp_path)
