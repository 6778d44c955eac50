"""Whatever a fleet loses, nothing is measured twice, nothing that was kept is lost, and nothing is left behind."""

import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from nanonap.lab.fleet.errors import FleetDiffers, HostsMissing
from tests.lab.fleet.machines import Machines
from tests.lab.made import Roots
from tests.patience import PATIENCE_S, wait_until

pytestmark = pytest.mark.long
CUT_S = 20
#: So that on a busy machine no host is done before another has begun.
LONG = {"requested": "1ms,2ms,5ms"}


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with Machines(tmp_path, "abc") as made:
        made.schedule()
        for each in made.hosts.values():
            each.start()
        yield made


def test_a_worker_is_killed_and_a_link_is_cut(machines: Machines, roots: Roots) -> None:
    client = machines.bench(roots, options=LONG)
    machines.wait_for(client)
    machines.hosts["c"].cut()
    cut_at = time.monotonic()
    machines.hosts["b"].kill()
    machines.hosts["b"].start()
    time.sleep(max(0.0, cut_at + CUT_S - time.monotonic()))
    machines.hosts["c"].mend()
    out, err = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, err
    report = json.loads(out)
    assert {name: each["adopted"] for name, each in report["about"]["hosts"].items()} == {"a": 0, "b": 1, "c": 0}
    assert {name for each in report["effects"] for name in each["hosts"]} == {"a", "b", "c"}
    assert machines.keepers() == {"a": 1, "b": 1, "c": 1}
    wait_until(lambda: not machines.left(), machines.left)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_scheduler_starts_anew(machines: Machines, roots: Roots, number: signal.Signals) -> None:
    client = machines.bench(roots, options=LONG)
    machines.wait_for(client)
    machines.start_anew(number)
    out, err = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, err
    hosts = json.loads(out)["about"]["hosts"]
    assert {name: each["adopted"] for name, each in hosts.items()} == dict.fromkeys("abc", 1)
    assert machines.keepers() == dict.fromkeys("abc", 1)
    wait_until(lambda: not machines.left(), machines.left)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_goes_stops_all(machines: Machines, roots: Roots, number: signal.Signals) -> None:
    client = machines.bench(roots, options=LONG)
    machines.wait_for(client)
    sent = time.monotonic()
    client.send_signal(number)
    wait_until(lambda: not machines.left(), machines.left)
    print(f"{number.name}: nothing is left after {time.monotonic() - sent:.2f} s")
    status = client.wait(timeout=PATIENCE_S)
    assert status == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert all(each.worker is not None and each.worker.poll() is None for each in machines.hosts.values())
    assert not (machines.folder / "out" / "fleet.json").exists()


def test_a_host_that_does_not_come_back_is_missing_by_name(machines: Machines, roots: Roots) -> None:
    client = machines.bench(roots, options=LONG, away_s=3)
    machines.wait_for(client)
    machines.hosts["b"].kill()
    out, err = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == HostsMissing.exit_code, err
    report = json.loads(out)
    assert report["about"]["missing"] == {"b": "it was lost, and not back within 3 s"}
    assert {name for each in report["effects"] for name in each["hosts"]} == {"a", "c"}
    assert "no result of b" in err
    assert machines.keepers()["b"] == 1


def test_hosts_of_another_version_are_refused_with_the_list(machines: Machines, roots: Roots) -> None:
    changed = machines.folder / "code"
    for name in ("nanonap", "patcher", "gosrc"):
        shutil.copytree(PROJECT / name, changed / name, ignore=shutil.ignore_patterns("__pycache__"))
    (changed / "patcher" / "__init__.py").open("a").write("# changed\n")
    machines.hosts["b"].kill()
    machines.hosts["b"].start(code=changed)
    _, err = (client := machines.bench(roots)).communicate(timeout=PATIENCE_S)
    assert client.returncode == FleetDiffers.exit_code, err
    assert "b: nanonap's code " in err
    assert "a:" not in err
    assert machines.keepers() == dict.fromkeys("abc", 0)
