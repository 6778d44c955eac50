"""The table of claims: complete, and nothing but what its recorded data say."""

import json
import os
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from nanonap.base.errors import UsageError
from nanonap.base.paths import PROJECT
from nanonap.lab.claims.answers import OPEN as OPEN_OUTCOMES
from nanonap.lab.claims.answers import Answer, answers, combined
from nanonap.lab.claims.data import Recorded, Source, read
from nanonap.lab.claims.main import DOCS, README, run_claims
from nanonap.lab.claims.page import BEGIN, END, as_list, as_markdown, with_list
from nanonap.lab.claims.rows import CAPTIONS, ROWS, SOURCES
from nanonap.lab.claims.write import FOLDER, PAGE
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.main import ABOUT, DATA, About
from nanonap.lab.ground.hosts import Host
from nanonap.lab.quota.base import Backend
from nanonap.lab.store.runs import BackendUsed
from tests import warm
from tests.lab.test_claims_kept import kept

CLAIMS = [
    "D1",
    "D2",
    "D3",
    "D4",
    "D5",
    "T1",
    "T2",
    "T3",
    "T4",
    "T5",
    "Q1",
    "Q2",
    "Q3",
    "Q4",
    "E1",
    "E2",
    "E3",
    "P1",
    "P2",
    "P3",
]
LIMITS = Source("quota-limits")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the recorded data: reading draws pictures beside them."""
    return Path(shutil.copytree(DOCS / FOLDER, tmp_path_factory.mktemp("docs") / FOLDER))


def by_source(root: Path) -> dict[Source, Recorded]:
    found = {source: read(root, source) for source in SOURCES}
    return {source: data for source, data in found.items() if data is not None}


@pytest.fixture(scope="module")
def made_of_them(recorded: Path) -> list[Answer]:
    return answers(by_source(recorded))


def test_every_published_claim_has_a_row_that_says_why() -> None:
    assert [row.claim for row in ROWS] == CLAIMS
    assert all(row.short and row.says and row.why.endswith((".", ")")) for row in ROWS)
    assert {row.picture for row in ROWS if row.picture} <= {source.name for source in SOURCES} & set(CAPTIONS)


def test_no_claim_is_without_a_verdict_from_data_of_full_runs(made_of_them: list[Answer]) -> None:
    for each in made_of_them:
        deciding = [verdict for _, verdict in each.found if each.row.decides(verdict.claim)]
        assert deciding and not each.lacking, each.row.claim
        assert set(each.row.decided_by) == {verdict.claim for verdict in deciding}
        assert all(verdict.sentence for verdict in deciding)
        assert each.outcome not in OPEN_OUTCOMES, each.row.claim
        assert not any(data.about.quick for data, _ in each.found)


def test_every_verdict_of_the_page_and_of_the_readme_is_recomputed_from_the_raw_data(
    made_of_them: list[Answer],
) -> None:
    assert (DOCS / PAGE).read_text(encoding="utf-8") == as_markdown(made_of_them, FOLDER)
    text = README.read_text(encoding="utf-8")
    assert BEGIN in text and END in text
    assert with_list(text, as_list(made_of_them, f"docs/{PAGE}")) == text


def test_other_data_give_another_verdict(recorded: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(recorded, tmp_path / FOLDER))
    dilation = Source("dilation")
    data = pl.read_parquet(root / dilation.name / DATA)
    limited = (pl.col("part") == "sleep") & (pl.col("quota") == "50%")
    changed = data.with_columns(elapsed_ns=pl.when(limited).then(2 * pl.col("elapsed_ns")).otherwise("elapsed_ns"))
    changed.write_parquet(root / dilation.name / DATA)
    before, after = (read(each, dilation) for each in (recorded, root))
    assert before is not None and after is not None
    outcomes = [next(each.outcome for each in data.verdicts if each.claim == "D1") for data in (before, after)]
    assert outcomes == ["refuted", "holds"]


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "holds"),
        ({"accepted": pl.col("accepted") & (pl.col("ability") != "weight")}, "holds in part"),
        ({"driver": pl.lit("cgroupfs")}, "cannot be tested here"),
        ({"version": pl.lit(1, pl.Int64)}, "cannot be tested here"),
    ],
    ids=["as recorded", "no cpu.weight", "another driver", "cgroup v1"],
)
def test_e1_is_answered_by_docker_with_systemd_on_cgroup_v2(
    recorded: Path, tmp_path: Path, change: dict[str, pl.Expr], outcome: str
) -> None:
    source = Source("engines", "guest-docker")
    root = Path(shutil.copytree(recorded / source.name, tmp_path / source.name)).parent
    data = pl.read_parquet(root / source.name / DATA)
    data.with_columns(**change).write_parquet(root / source.name / DATA)
    after = read(root, source)
    assert after is not None
    assert next(each.outcome for each in after.verdicts if each.claim == "E1") == outcome


def test_recorded_data_name_no_folder_of_a_machine(recorded: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in recorded.rglob(ABOUT)}
    for path in recorded.rglob(DATA):
        strings = pl.read_parquet(path).select(pl.selectors.string())
        texts[path] = "\n".join(str(value) for column in strings for value in column.unique())
    for path, text in texts.items():
        assert not re.search(r"/(home|root|tmp|work|check|build)/", text), path
        assert str(PROJECT) not in text, path


OPEN: Outcome = "cannot be tested here"


@pytest.mark.parametrize(
    ("deciding", "expected"),
    [
        ([], "not settled"),
        ([("D1", "refuted")], "refuted"),
        ([("D1", "refuted"), ("D1", OPEN)], "refuted"),  # settled in one place
        ([("D1", "refuted"), ("D1", "holds")], "holds in part"),
        ([("D1", OPEN)], OPEN),
        ([("T1", OPEN), ("T1 polling", "holds")], OPEN),  # a part that nobody has looked at
        ([("T1", OPEN), ("T1 polling", "holds in part")], "holds in part"),
        ([("a", "holds"), ("b", "refuted"), ("c", OPEN)], "holds in part"),
        ([("a", "holds"), ("b", "holds")], "holds"),
        ([("D1", OPEN), ("D1", "not settled")], "not settled"),
        ([("a", "holds"), ("b", "not settled")], "not settled"),
    ],
)
def test_verdicts_on_one_claim_make_one_outcome(deciding: list[tuple[str, Outcome]], expected: str) -> None:
    assert combined(deciding) == expected


def test_what_one_place_cannot_answer_is_not_told_at_length_where_another_does() -> None:
    def data(source: Source, outcome: Outcome) -> Recorded:
        about = About(
            experiment=source.experiment,
            started_utc="2026-01-01T00:00:00",
            quick=False,
            backend=BackendUsed(source.backend, ""),
            go_version="",
            host=Host(),
        )
        return Recorded(source, Path(), about, (Verdict("Q1", "", outcome, ""), Verdict("Q1 more", "", OPEN, "")), None)

    guest = Source("quota-limits", "guest")
    kept = {LIMITS: data(LIMITS, "refuted"), guest: data(guest, OPEN)}
    (answer,) = answers(kept, [row for row in ROWS if row.claim == "Q1"])
    assert answer.outcome == "refuted"
    told = [(each.source, verdict.claim) for each, verdict in answer.told]
    assert told == [(LIMITS, "Q1"), (LIMITS, "Q1 more"), (guest, "Q1 more")]
    assert [(each.source, verdict.claim) for each, verdict in answer.left_open] == [(guest, "Q1")]


@pytest.mark.long
def test_a_claim_is_run_for_real_and_shown(backend: Backend, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept(out / FOLDER / LIMITS.name, "2026-01-01T00:00:00", backend=backend.name)
    warm.run([warm.INVOKE, "build"]).check_returncode()
    command = [warm.INVOKE, "claims", "--rerun", "--quick", "--only", LIMITS.name, "--out", str(out), "--json"]
    done = warm.run(command)
    document = json.loads(done.stdout)
    assert document["ran"] == [{"command": "invoke experiment quota-limits", "on": None, "problem": None}]
    (q1,) = [each for each in document["claims"] if each["claim"] == "Q1"]
    here = next(each for each in q1["verdicts"] if each["backend"] == backend.name)
    assert (here["outcome"], here["quick"]) == ("holds in part", True)
    assert ", quick form.*" in (out / PAGE).read_text(encoding="utf-8")


def test_what_cannot_run_here_is_told_and_its_recorded_data_stay(tmp_path: Path, recorded: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    out = tmp_path / "out"
    guest = "quota-limits-guest"
    shutil.copytree(recorded / guest, out / FOLDER / guest)
    command = [warm.INVOKE, "claims", "--rerun", "--quick", "--only", guest, "--out", str(out)]
    done = warm.run(command, env={**os.environ, "PATH": str(empty)})  # no QEMU there
    assert done.returncode == 0, done.stderr
    assert "not run: invoke experiment quota-limits --backend guest" in " ".join(done.stderr.split())
    assert (out / FOLDER / guest / DATA).read_bytes() == (recorded / guest / DATA).read_bytes()


def test_options_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="D1, D2"):
        run_claims(only="D9", out=tmp_path)
    with pytest.raises(UsageError, match="--out"):
        run_claims(quick=True)
    with pytest.raises(UsageError, match="exclude"):
        run_claims(rerun=True, redraw=True)
    with pytest.raises(UsageError, match="runs nothing"):
        run_claims(redraw=True, only="D1")
    assert not list(tmp_path.iterdir())
