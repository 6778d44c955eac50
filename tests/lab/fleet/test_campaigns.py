"""A campaign over a fleet gives what one machine gives, whatever is lost meanwhile."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fleet.machines import ADDRESS, Machines
from tests.lab.made import ENVIRONMENT
from tests.patience import PATIENCE_S, wait_until

pytestmark = pytest.mark.long
DRIVE = """
import json, sys
from nanonap.lab.fleet.settings import settle
settle()
from nanonap.lab.fleet.client import Fleet
from nanonap.lab.fleet.spread import spread
from tests.lab.fleet import chores
function, items = json.loads(sys.argv[1])
items = [tuple(each) if isinstance(each, list) else each for each in items]
found = spread(Fleet(%r), getattr(chores, function), items)
print(json.dumps([[item, each.result, each.died] for item, each in found]))
"""


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with Machines(tmp_path, "abc") as made:
        made.schedule()
        for each in made.hosts.values():
            each.start()
        yield made


def _campaign(machines: Machines, function: str, items: list[object]) -> "subprocess.Popen[str]":
    words = machines.hub.inside(sys.executable, "-c", DRIVE % ADDRESS, json.dumps([function, items]))
    return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_survives_a_worker_a_link_and_a_scheduler_and_names_what_kills(machines: Machines, tmp_path: Path) -> None:
    out, err = (client := _campaign(machines, "square_but_seven", [*range(40)])).communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, err
    found = {item: (result, died) for item, result, died in json.loads(out)}
    assert found == {each: (None, True) if each == 7 else (each * each, False) for each in range(40)}

    client = _campaign(machines, "note", [(str(tmp_path), each) for each in range(120)])
    begun = tmp_path / "begun"

    def count() -> int:
        return len(begun.read_text().splitlines()) if begun.exists() else 0

    wait_until(lambda: client.poll() is not None or count() >= 10)
    machines.hosts["a"].kill()
    machines.hosts["c"].cut()
    machines.hosts["a"].start()
    wait_until(lambda: client.poll() is not None or count() >= 30)
    machines.hosts["c"].mend()
    wait_until(lambda: client.poll() is not None or count() >= 50)
    assert client.poll() is None, client.communicate()
    machines.start_anew(signal.SIGKILL)
    out, err = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, err
    assert {item[1]: result for item, result, _ in json.loads(out)} == {each: each * each for each in range(120)}
    wait_until(lambda: not _hands(tmp_path))


def test_a_client_that_is_killed_ends_the_work(machines: Machines, tmp_path: Path) -> None:
    client = _campaign(machines, "note", [(str(tmp_path), each) for each in range(1000)])
    wait_until(lambda: client.poll() is not None or (tmp_path / "begun").exists())
    client.kill()
    client.wait()

    def still() -> bool:
        before = (tmp_path / "begun").stat().st_size
        wait_until(lambda: not _hands(tmp_path))
        return (tmp_path / "begun").stat().st_size == before

    wait_until(still)


def _hands(_folder: Path) -> list[str]:
    """Hands that run in a group of the machines of these tests."""
    found = []
    for path in Path("/sys/fs/cgroup/cpu").glob("fleettest-*/cgroup.procs"):
        for number in path.read_text().split():
            words = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
            found += [words] if "nanonap.lab.fleet.hand" in words else []
    return found
