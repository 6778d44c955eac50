"""Where verdicts were tried: the same or not on each kernel and cgroup version; a fleet's hosts beside each other."""

from pathlib import Path

import pytest

from nanonap.lab.claims.answers import Answer, answers
from nanonap.lab.claims.data import Recorded, Source, adopt, hosts_in, read
from nanonap.lab.claims.page import as_markdown
from nanonap.lab.claims.places import where_tried
from nanonap.lab.claims.rows import ROWS
from nanonap.lab.claims.write import FOLDER
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.main import About
from nanonap.lab.ground.hosts import Host
from nanonap.lab.store.runs import BackendUsed
from tests.lab.test_claims_kept import kept

[Q1] = [row for row in ROWS if row.claim == "Q1"]
OPEN: Outcome = "cannot be tested here"
OLD, NEW = "6.1.0-57-cloud-amd64", "6.12.43+deb12-cloud-amd64"
V1, V2 = ("cgroup1", "hybrid"), ("guest", "v2")


def data(
    kernel: str, limited: tuple[str, str], outcome: Outcome, mark: str | None = None, source: Source | None = None
) -> Recorded:
    """Of quota-limits, by (a backend, what the host says of its groups)."""
    backend, cgroup = limited
    about = About(
        experiment="quota-limits",
        started_utc="2026-01-01T00:00:00",
        quick=False,
        backend=BackendUsed(backend, "", mark),
        go_version="1.27.3",
        host=Host(kernel=kernel, cgroup=cgroup),
    )
    own = source or Source("quota-limits", "auto", host=f"{kernel}{backend}")
    return Recorded(own, Path(), about, (Verdict("Q1", "", outcome, "it is so"),), None)


def answered(*found: Recorded) -> list[Answer]:
    return answers({each.source: each for each in found}, [Q1])


@pytest.mark.parametrize(
    ("outcomes", "same"),
    [
        (("refuted", "refuted", "refuted"), True),
        (("refuted", "refuted", "holds"), False),
        (("refuted", OPEN, "refuted"), True),
        (("refuted", OPEN, "holds"), False),
        (("refuted", OPEN, "not settled"), None),
    ],
)
def test_a_verdict_is_the_same_where_all_that_settle_it_agree(
    outcomes: tuple[Outcome, Outcome, Outcome], same: bool | None
) -> None:
    places = ((NEW, V2, "emulated"), ("6.18.44", V1, None), (OLD, V2, "emulated"))
    made = [data(kernel, by, outcome, mark) for (kernel, by, mark), outcome in zip(places, outcomes, strict=True)]
    table = where_tried(answered(*made))
    assert [str(each) for each in table.places] == [
        "Linux 6.18, cgroup v1", "Linux 6.1, cgroup v2 (emulated)", "Linux 6.12, cgroup v2 (emulated)"
    ]  # fmt: skip
    [row] = table.rows
    assert row.cells == (outcomes[1], outcomes[2], outcomes[0])
    assert (row.claim, row.same) == ("Q1", same)
    assert (table.same, table.differing) == (["Q1"] if same else [], ["Q1"] if same is False else [])


def test_sources_of_one_place_that_differ_are_named_and_one_place_alone_is_no_row() -> None:
    same_place = [
        data(OLD, ("guest", "v2"), "refuted", source=Source("quota-limits")),
        data(OLD.replace("57", "56"), ("guest-systemd", "v2"), "holds", source=Source("quota-limits", "guest")),
    ]
    assert where_tried(answered(*same_place)).rows == ()
    assert "Where tried" not in as_markdown(answered(*same_place), FOLDER)
    table = where_tried(answered(*same_place, data(NEW, V2, "holds")))
    [row] = table.rows
    assert row.cells == ("refuted (`guest`); holds (`guest-systemd`)", "holds")
    assert row.same is False


def test_the_page_has_the_table_with_the_mark_of_emulated_machines() -> None:
    text = as_markdown(
        answered(data("6.18.44", V1, "refuted"), data(OLD, V2, "refuted", "emulated, not for microseconds")), FOLDER
    )
    assert "| verdict | Linux 6.18, cgroup v1 | Linux 6.1, cgroup v2 (emulated, not for microseconds) | same |" in text
    assert "| [Q1](#q1) | refuted | refuted | yes |" in text
    assert "1 that two or more settle" in " ".join(text.split())


def test_hosts_of_a_fleet_stand_beside_this_machine(tmp_path: Path) -> None:
    root, results = tmp_path / FOLDER, tmp_path / "results"
    sources = [Source("quota-limits", host=host) for host in ("", "a", "b")]
    for day, source in enumerate(sources, 1):
        kept(results / "quota-limits" / f"run{source.at}", f"2026-01-0{day}T00:00:00")
    assert all(adopt(root, each, results) for each in sources)
    assert hosts_in(root, sources[0]) == ["a", "b"]
    found = {each: made for each in sources if (made := read(root, each)) is not None}
    assert [each.about.started_utc[:10] for each in found.values()] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    [answer] = answers(found, [Q1])
    assert [each.source.host for each, _ in answer.found] == ["", "a", "b"]
    assert sources[0] not in answer.lacking
    assert "- `invoke experiment quota-limits` on b: **" in as_markdown([answer], FOLDER)
