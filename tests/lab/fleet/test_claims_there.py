"""The experiments of claims on the hosts of a fleet: each host all of them, and the page of what they gave."""

import io
import json
import signal
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nanonap.lab.claims.data import Source
from nanonap.lab.claims.there import _without_code
from nanonap.lab.claims.write import FOLDER, PAGE
from nanonap.lab.experiments.bundled import keep
from nanonap.lab.experiments.main import ABOUT, DATA
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.quota.base import Backend
from nanonap.toolchain.targets import AMD64, TARGETS
from tests import warm
from tests.patience import wait_until


def _served(started: warm.Started) -> str:
    wait_until(lambda: started.poll() is not None or bool(started.said()[0]), lambda: started.said()[1])
    return started.said()[0].strip()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a scheduler on the loopback with two hosts, a and b."""
    with ExitStack() as stack:

        def start(*words: str | Path) -> str:
            started = stack.enter_context(warm.start([warm.INVOKE, "fleet", *words, "--port", "0"]))
            stack.callback(started.send_signal, signal.SIGTERM)
            return _served(started)

        where = start("scheduler")
        for name in "ab":
            start("worker", "--scheduler", where, "--name", name, "--room", tmp_path / name)
        yield where


@pytest.mark.long
def test_each_host_answers_and_the_projects_own_page_is_not_made_of_several(
    address: str, backend: Backend, tmp_path: Path
) -> None:
    warm.run([warm.INVOKE, "build"]).check_returncode()
    words = [warm.INVOKE, "claims", "--fleet", address, "--only", "quota-limits"]
    refused = warm.run(words)
    assert refused.returncode == 2, refused.stderr
    assert "the project's own page is of one machine, and a, b measure: give --out DIR" in refused.stderr
    done = warm.run([*words, "--quick", "--json", "--out", tmp_path / "out"])
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    ran = [(each["on"], each["problem"]) for each in document["ran"]]
    assert sorted(ran) == [("a", None), ("b", None)]
    (q1,) = [each for each in document["claims"] if each["claim"] == "Q1"]
    own = [each for each in q1["verdicts"] if each["on"] is not None]
    assert [(each["on"], each["backend"], each["quick"]) for each in own] == [
        ("a", backend.name, True), ("b", backend.name, True)
    ]  # fmt: skip
    assert "- `invoke experiment quota-limits` on b: **" in (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert {each.name for each in (tmp_path / "out" / FOLDER).glob("*@*")} == {"quota-limits@a", "quota-limits@b"}
    wait_until(lambda: not [*tmp_path.glob("?/jobs/*")])


@pytest.mark.parametrize("cut", [0, 100])
def test_what_is_no_whole_result_is_not_kept(tmp_path: Path, cut: int) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as bundle:
        for each in (DATA, ABOUT):
            bundle.writestr(each, bytes(200))
    (tmp_path / "there").mkdir()
    assert keep(whole.getvalue(), tmp_path / "there", "@a").name.endswith("@a")
    with pytest.raises(BadResult, match="no result"):
        keep(whole.getvalue()[:cut], tmp_path / "results", "@a")
    assert not (tmp_path / "results").exists()


def test_an_experiment_whose_arms_have_no_code_for_a_host_is_a_problem_of_that_host_alone() -> None:
    assert "no code for arm64" in _without_code(TARGETS["arm64"], Source("path"))
    assert _without_code(AMD64, Source("path")) == ""
    assert _without_code(TARGETS["arm64"], Source("quota-limits")) == ""
