"""Go's own test binaries, for real: the same verdicts patched; a test that was altered is found."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nanonap.toolchain.go import wheel_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO
from nanonap.trials.corpus.arms import chosen_arms
from nanonap.trials.corpus.processes import Processes
from nanonap.trials.corpus.row import Result, Row
from nanonap.trials.corpus.standard import Package, Standard
from nanonap.trials.corpus.testing import PackageTrial

CONTEXT = Package("context")
#: How an altered test of package context can end; the file counts the runs.
ENDINGS = {
    "fails": 't.Fatal("altered")',
    "panics": 'panic("altered")',
    "every third run fails": """
        ran, _ := os.ReadFile(COUNTER)
        os.WriteFile(COUNTER, append(ran, 'x'), 0o600)
        if len(ran)%3 == 1 {
            t.Fatal("altered")
        }
""",
}

Altered = Callable[[str], Path]


@pytest.fixture
def standard(tmp_path: Path) -> Standard:
    return Standard(wheel_toolchain(DEFAULT_GO), Processes(), tmp_path / "std")


@pytest.fixture
def altered(standard: Standard, tmp_path: Path) -> Altered:
    """Build package context's tests with one test more, TestAltered, which ends in one of the ways."""

    def build(how: str) -> Path:
        body = ENDINGS[how].replace("COUNTER", json.dumps(str(tmp_path / "counter")))
        imports = 'import (\n"os"\n"testing"\n)' if "os." in body else 'import "testing"'
        text = f"package context_test\n\n{imports}\n\nfunc TestAltered(t *testing.T) {{\n{body}\n}}\n"
        source = tmp_path / "altered_test.go"
        source.write_text(text, encoding="ascii")
        goroot = standard.toolchain.goroot
        assert goroot is not None
        overlay = tmp_path / "overlay.json"
        place = goroot / "src" / "context" / "altered_test.go"
        overlay.write_text(json.dumps({"Replace": {str(place): str(source)}}), encoding="ascii")
        folder = tmp_path / how.replace(" ", "-")
        folder.mkdir()
        return standard.build(CONTEXT, (f"-overlay={overlay}",), folder)

    return build


def trial(standard: Standard, tmp_path: Path, arms: str = "netpoll+slack1", package: Package = CONTEXT) -> PackageTrial:
    return PackageTrial(standard, package, chosen_arms(arms), True, tmp_path / "patched")


def compared(standard: Standard, tmp_path: Path, stock: Path, patched: Path) -> Row:
    """The row of two binaries that were not made by the patcher: what it would say of a patch that changes tests."""
    one = trial(standard, tmp_path)
    first = standard.run(CONTEXT, stock, short=True)
    second = standard.run(CONTEXT, patched, short=True)
    settled = one.judge("netpoll", DEFAULT_GO, (stock, patched), (first, second), 0.0)
    return settled if isinstance(settled, Row) else settled()


@pytest.mark.long
def test_a_patched_test_binary_gives_the_verdicts_of_stock(standard: Standard, tmp_path: Path) -> None:
    (row,) = trial(standard, tmp_path)()
    assert isinstance(row, Row)
    assert (row.result, row.go, row.arm) == (Result.SAME, DEFAULT_GO, "netpoll+slack1")
    assert row.evidence["stock"] == row.evidence["netpoll+slack1"]
    assert row.evidence["stock"].startswith("exit 0: ")
    assert int(row.detail.split()[0]) > 60


@pytest.mark.long
def test_strategy_sleep_is_refused_with_synctest_and_that_is_no_failure(standard: Standard, tmp_path: Path) -> None:
    (row,) = trial(standard, tmp_path, "sleep", Package("testing/synctest"))()
    assert isinstance(row, Row)
    assert row.result == Result.REFUSED
    assert row.detail.startswith("UsesSynctest: ")


def test_a_package_that_does_not_build_is_told_and_stops_nothing(standard: Standard, tmp_path: Path) -> None:
    (row,) = trial(standard, tmp_path, package=Package("no/such/package"))()
    assert isinstance(row, Row)
    assert row.result == Result.NOT_HERE
    assert "no/such/package" in row.detail


@pytest.mark.long
def test_a_test_that_fails_in_one_arm_alone_is_changed_with_the_counts_of_six_runs(
    standard: Standard, tmp_path: Path, altered: Altered
) -> None:
    row = compared(standard, tmp_path, standard.build(CONTEXT), altered("fails"))
    assert row.result == Result.CHANGED
    assert "TestAltered: stock 6 absent; patched 6 fail" in row.detail
    assert "stock ended: exit 0; patched: exit 1" in row.detail


@pytest.mark.long
def test_a_panic_in_one_arm_alone_is_changed(standard: Standard, tmp_path: Path, altered: Altered) -> None:
    row = compared(standard, tmp_path, standard.build(CONTEXT), altered("panics"))
    assert row.result == Result.CHANGED
    assert "stock ended: exit 0; patched: panic" in row.detail


@pytest.mark.long
def test_a_test_whose_verdict_varies_in_stock_too_is_shown_as_that(
    standard: Standard, tmp_path: Path, altered: Altered
) -> None:
    varies = altered("every third run fails")
    row = compared(standard, tmp_path, varies, varies)
    assert row.result == Result.UNSTABLE
    assert "TestAltered: stock 2 fail, 4 pass; patched 2 fail, 4 pass" in row.detail


def test_every_package_of_the_runtime_is_tried_or_named_with_a_reason(standard: Standard) -> None:
    chosen, reasons = standard.packages(nightly=True)
    paths = {each.path for each in chosen}
    assert {"runtime", "runtime/pprof", "internal/runtime/maps", "testing/synctest"} <= paths
    assert "race detector" in reasons["runtime/race"]
    assert paths.isdisjoint(reasons)
    assert len(standard.packages(nightly=False)[0]) == 10
