"""A whole fleet on the loopback, under TLS: a host that measures, its report, and who is turned away."""

import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from nanonap.cli.tasks import collection
from nanonap.lab.fleet.errors import FleetUnreachable
from tests import warm
from tests.lab.made import ENVIRONMENT, Roots
from tests.patience import PATIENCE_S, wait_until


def _fleet(*words: str | Path) -> warm.Started:
    return warm.start([warm.INVOKE, "fleet", *words])


def _served(started: warm.Started) -> str:
    """The address that a scheduler or a worker says."""
    wait_until(lambda: started.poll() is not None or bool(started.said()[0]), lambda: started.said()[1])
    return started.said()[0].strip()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    with _fleet("keys", tmp_path / "keys") as done:
        assert done.wait() == 0, done.said()
    return tmp_path / "keys"


@pytest.fixture
def address(keys: Path, tmp_path: Path) -> Iterator[str]:
    """A scheduler and one host, both on ports that are free."""
    with _fleet("scheduler", "--port", "0", "--keys", keys) as scheduler:
        where = _served(scheduler)
        words = ("--scheduler", where, "--name", "lone", "--port", "0", "--room", tmp_path / "room", "--keys", keys)
        with _fleet("worker", *words) as worker:
            assert _served(worker).startswith("tls://127.0.0.1:"), worker.said()
            yield where
            assert scheduler.poll() is None
            scheduler.send_signal(15)
            assert worker.wait() == 0, worker.said()  # it goes with its scheduler


def test_a_host_measures_under_tls_and_its_report_is_drawn_again(
    address: str, keys: Path, roots: Roots, tmp_path: Path
) -> None:
    where = {"out": str(tmp_path / "out"), "build_root": str(roots.build), "patched_root": str(roots.patched)}
    options = {"arms": "stock,floor", "quota": "none", "requested": "100us"}
    text = json.dumps({"address": address, "keys": str(keys), "options": options, **where})
    done = warm.run([str(Path(__file__).with_name("drive.py")), text], env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [*report["about"]["hosts"]] == ["lone"]
    assert {(each["arm"], each["requested_ns"]) for each in report["effects"]} == {("floor", 100_000)}
    wait_until(lambda: not [*(tmp_path / "room" / "jobs").glob("*")])
    again = _fleet("report", tmp_path / "out", "--json")
    assert json.loads(again.communicate()[0])["effects"] == report["effects"]


@pytest.mark.long
def test_who_has_no_key_of_the_fleet_is_turned_away(address: str, tmp_path: Path) -> None:
    with _fleet("keys", tmp_path / "foreign") as made:
        assert made.wait() == 0
    for words in (("--keys", tmp_path / "foreign"), ()):
        with _fleet("hosts", "--scheduler", address if words else address.replace("tls", "tcp"), *words) as refused:
            assert refused.wait(PATIENCE_S) == FleetUnreachable.exit_code, refused.said()


def test_keys_are_the_owners_alone_and_not_written_over(keys: Path) -> None:
    modes = {each.name: each.stat().st_mode & 0o777 for each in keys.iterdir()}
    assert {name: mode for name, mode in modes.items() if name != "ca.pem"} == dict.fromkeys(
        ("scheduler.pem", "worker.pem", "client.pem"), 0o600
    )
    assert keys.stat().st_mode & 0o777 == 0o700
    with _fleet("keys", keys) as again:
        assert again.wait() == 21


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bench",), "name either --scheduler, or --hosts"),
        (("bench", "--quick", "--full", "--scheduler", "tcp://127.0.0.1:1"), "exclude each other"),
        (("bench", "--arms", "nosuch", "--scheduler", "tcp://127.0.0.1:1"), "no such arm: nosuch"),
        (("nosuch",), "No idea what 'fleet nosuch' is"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_asked(words: tuple[str, ...], said: str) -> None:
    with _fleet(*words) as done:
        assert done.wait() == 2, done.said()
        assert said in done.said()[1]


def test_every_option_of_a_bench_is_one_of_a_fleets() -> None:
    tasks = collection(checkout=True).tasks
    own, fleets = ({each.name for each in tasks[name].get_arguments()} for name in ("bench", "fleet-bench"))
    assert own - {"tables"} <= fleets


def test_the_extra_fleet_holds_all_of_the_extra_lab_and_its_dask_is_the_one_that_is_locked() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras["lab"]) < set(extras["fleet"])
    [pinned] = (each for each in extras["fleet"] if each.startswith("distributed"))
    assert re.search(rf"^{re.escape(pinned)} ", (PROJECT / "requirements.lock").read_text(), re.MULTILINE)


@pytest.mark.skipif(importlib.util.find_spec("bokeh") is not None, reason="needs a machine without bokeh")
def test_a_dashboard_without_what_draws_it_is_refused_with_what_gives_it() -> None:
    with _fleet("scheduler", "--port", "0", "--dashboard") as done:
        assert done.wait() == 2, done.said()
        assert "pip install bokeh" in done.said()[1]
