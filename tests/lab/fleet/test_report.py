"""What hosts gave, side by side: the mean's unit is the host, ratios are averaged by their logarithms."""

import json
import shutil
from pathlib import Path

import pytest
from msgspec import to_builtins

from nanonap.lab.fleet.report import ABOUT, About, FleetReport, Measured, print_report, read_report
from nanonap.lab.ground.errors import BadBundle, BadResult
from nanonap.lab.publish.bundle import write_bundle
from tests.lab.bundles.made_bundles import ABOUT_BENCH, made_runs
from tests.lab.made import write_result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hosts with a result, one without; the second's patched programs sleep twice as long."""
    made = tmp_path_factory.mktemp("fleet")
    for number, name in enumerate("ab"):
        runs = made_runs()
        for run in runs if number == 1 else ():
            if run.arm != "stock":
                run.actual = {asked: [2 * each for each in own] for asked, own in run.actual.items()}
        write_bundle(write_result(made / f"result-{name}", runs, ABOUT_BENCH), made / f"{name}.zip", made)
    shutil.copy(made / "a.zip", made / "c.zip")
    about = About(
        command="invoke fleet bench", started_utc="2026-01-01T00:00:00+00:00", versions={"python": "3.11"},
        hosts={each: Measured(bundle=f"{each}.zip", worker_share=0.001) for each in "cab"},
        missing={"d": "it was lost, and not back within 300 s"},
    )  # fmt: skip
    (made / ABOUT).write_text(json.dumps(to_builtins(about)))
    return made


@pytest.fixture(scope="module")
def report(folder: Path) -> FleetReport:
    return read_report(folder)


def test_each_arm_has_a_ratio_per_host_their_mean_and_the_worst_by_name(report: FleetReport) -> None:
    assert [*report.machines] == ["a", "b", "c"]
    assert not [each for each in report.effects if each.arm in ("stock", "control")]
    effect = next(each for each in report.effects if each.arm == "netpoll" and each.requested_ns == 100_000)
    ratios = {name: each.ratio for name, each in effect.hosts.items()}
    assert ratios["a"] == ratios["c"]
    assert ratios["b"] == pytest.approx(2 * ratios["a"])
    assert effect.mean == pytest.approx((ratios["a"] * ratios["b"] * ratios["c"]) ** (1 / 3), rel=0.02)
    assert effect.worst == "b"
    assert effect.interval is not None
    assert effect.interval[0] < ratios["a"] < effect.mean < ratios["b"] < effect.interval[1]


def test_the_tables_name_every_host_and_what_is_missing(
    report: FleetReport, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(report, folder)
    told = capsys.readouterr().out
    assert "missing d: it was lost, and not back within 300 s" in told
    assert "0.10%" in told
    assert "mean over hosts" in told
    assert "6.18.0" in told


def test_a_folder_that_is_none_and_a_bundle_that_was_changed_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadResult, match=r"fleet\.json: cannot be read"):
        read_report(tmp_path)
    for name in ("fleet.json", "a.zip", "b.zip"):
        shutil.copy(folder / name, tmp_path)
    (tmp_path / "c.zip").write_bytes(b"no zip")
    with pytest.raises(BadBundle, match=r"c\.zip"):
        read_report(tmp_path)
