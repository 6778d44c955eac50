"""article-patch: its verdict on made data, each way; and its quick form, run for real."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from nanonap.lab.experiments.article_patch.experiment import ArticlePatch
from nanonap.lab.experiments.article_patch.number import AS_CLAIMED, BUSY, ONLY_NUMBER, QUIETLY, STOCK
from nanonap.lab.experiments.article_patch.patchelf import EDITS
from nanonap.lab.experiments.article_patch.runs import SCHEMA
from nanonap.lab.experiments.kit.base import Setting, Verdict
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.docker import DockerBackend


def _rows(**steps: bool) -> list[dict[str, Any]]:
    """What a machine would give on which each step does, or does not, what is claimed."""
    function, patchelf, number, instruction = (
        steps.get(each, False) for each in ("function", "patchelf", "number", "instruction")
    )
    made: list[dict[str, Any]] = [
        {"part": "function", "subject": "sleepbench", "go": "1.27.3", "tried": "runtime.nanosleep", "found": function},
        {"part": "patchelf option", "subject": "patchelf 9", "tried": "--set-rpath", "found": False, "message": "x"},
        {"part": "table", "number": 241, "message": "clock_nanosleep" if number else "mq_unlink"},
        {"part": "instruction", "subject": "go build", "tried": "CALL syscall(SB)", "found": instruction},
        {"part": "instruction", "subject": "go build", "tried": "SYSCALL", "found": True},
        {"part": "instruction", "subject": "a copy", "tried": "CALL linux.Syscall6", "found": True, "runs": True},
    ]
    tried = {"part": "patchelf", "subject": "static", "tried": "--set-rpath x", "status": 0, "message": ""}
    made += [{**tried, "changed": True, "code_same": not patchelf, "runs": True}]
    return [*made, *_runs(number)]


def _runs(number: bool, often: int = 1_000, blocks: int = 4, waits: int = 60) -> Iterator[dict[str, Any]]:
    for block in range(blocks):
        for load in (QUIETLY, BUSY):
            for arm in (STOCK, ONLY_NUMBER, AS_CLAIMED):
                called = "nanosleep" if arm == STOCK else "clock_nanosleep" if number else "mq_unlink"
                calls = {"mq_unlink": 0, "nanosleep": 0, "clock_nanosleep": 0}
                calls[called] = often + block if called == "mq_unlink" else 100 + block
                row = {"part": "number", "subject": arm, "load": load, "block": block, "sleeps": 60}
                took = {"wall_ns": 100_000_000, "cpu_ns": 50_000_000, "shortest_late_ns": 80_000}
                results = "-1 ENOENT" if called == "mq_unlink" else None
                waited = 60 if arm == STOCK else waits
                yield {**row, **took, **calls, "traced": True, "epoll_waits": waited, "results": results}
                yield {**row, **took, "traced": False}


def _verdict(rows: list[dict[str, Any]]) -> Verdict:
    (found,) = ArticlePatch().judge(pl.DataFrame(rows, schema=SCHEMA))
    return found


STEPS = ("function", "patchelf", "number", "instruction")


def test_it_holds_where_every_step_does_what_is_claimed() -> None:
    found = _verdict(_rows(**dict.fromkeys(STEPS, True)))
    assert found.outcome == "holds", found.sentence
    assert found.claim == "P3"


@pytest.mark.parametrize("lacking", STEPS)
def test_one_step_that_does_not_refutes_it(lacking: str) -> None:
    found = _verdict(_rows(**{each: each != lacking for each in STEPS}))
    assert found.outcome == "refuted", found.sentence
    assert [name for name, each in found.figures.items() if not each["does"]] == [lacking]


@pytest.mark.parametrize("part", ["function", "patchelf", "instruction"])
def test_a_step_that_was_not_tried_leaves_it_open_and_says_what_is_missing(part: str) -> None:
    rows = [each for each in _rows(**dict.fromkeys(STEPS, True)) if each["part"] != part]
    found = _verdict([*rows, {"part": part, "missing": "no such tool; install it"}])
    assert found.outcome == "cannot be tested here"
    assert "no such tool; install it" in found.sentence


def test_without_strace_the_kernels_table_decides_on_the_number() -> None:
    for number, does in ((True, True), (False, False)):
        rows = [each for each in _rows(number=number) if not each.get("traced")]
        found = _verdict([*rows, {"part": "number", "missing": "there is no strace here"}])
        assert found.figures["number"]["does"] is does
        assert "there is no strace here" in found.sentence
    rows = [each for each in rows if each["part"] not in ("table", "number")]
    assert _verdict(rows).figures["number"]["does"] is None


def test_an_option_that_is_not_known_leaves_open_whether_patchelf_edits_code() -> None:
    unknown = {"part": "patchelf option", "subject": "patchelf 9", "tried": "--set-code"}
    found = _verdict([*_rows(**{each: each != "patchelf" for each in STEPS}), unknown])
    assert found.outcome == "not settled"
    assert "--set-code" in found.sentence


@pytest.mark.parametrize(
    ("often", "blocks", "said"),
    [(1_000, 4, "so it spins"), (100, 4, "does not spin"), (1_000, 2, "too few runs")],
)
def test_what_the_number_brings_about_is_measured_against_stock(often: int, blocks: int, said: str) -> None:
    rows = [each for each in _rows() if each["part"] != "number"]
    assert said in _verdict([*rows, *_runs(False, often, blocks)]).sentence


@pytest.mark.parametrize(
    ("waits", "blocks", "said"), [(59, 4, "as before"), (6, 4, "not as before"), (59, 2, "too few runs")]
)
def test_where_its_sleeps_wait_is_measured_against_stock(waits: int, blocks: int, said: str) -> None:
    rows = [each for each in _rows() if each["part"] != "number"]
    assert f"as often as stock's: {said}" in _verdict([*rows, *_runs(False, 1_000, blocks, waits)]).sentence


def test_runs_that_ended_badly_are_told_and_the_others_count() -> None:
    crash = {"part": "number", "subject": ONLY_NUMBER, "load": BUSY, "block": 0, "status": -11, "mq_unlink": 5}
    crashes = [{**crash, "message": "ended by SIGSEGV", "traced": traced} for traced in (True, False)]
    whole, found = _verdict(_rows()), _verdict([*_rows(), *crashes])
    assert found.outcome == "refuted"
    assert "2 of the 34 runs of its copies did not end well (ended by SIGSEGV)" in found.sentence
    assert found.figures["number"]["calls"] == whole.figures["number"]["calls"]
    alone = [each for each in _rows() if each["part"] != "number"]
    assert "none of its time.Sleep ended" in _verdict([*alone, *crashes]).sentence
    notes = [note for table in ArticlePatch().tables(pl.DataFrame([*alone, *crashes], SCHEMA)) for note in table.notes]
    assert f"left out, 241, {BUSY}: ended by SIGSEGV" in notes


def test_a_tool_that_builds_nothing_leaves_the_instruction_open() -> None:
    rows = _rows()
    for each in rows:
        if each.get("tried") == "SYSCALL":
            each["found"] = False
    keystone = [{"part": "instruction", "subject": "Keystone", "found": each != "call syscall", "tried": each}
                for each in ("call syscall", "syscall")]  # fmt: skip
    found = _verdict([*rows, *keystone])
    assert found.figures["instruction"]["does"] is None
    assert "not settled by go build: no SYSCALL either" in found.sentence
    only = [each for each in rows if each["part"] != "instruction"]
    assert _verdict([*only, *keystone]).figures["instruction"]["does"] is False


@pytest.mark.parametrize("broken", ["lists nothing", "refuses all"])
def test_a_patchelf_that_does_nothing_leaves_open_whether_it_edits_code(broken: str) -> None:
    rows = _rows()
    if broken == "lists nothing":
        rows = [each for each in rows if each["part"] != "patchelf option"]
    for each in rows:
        if each["part"] == "patchelf" and broken == "refuses all":
            each |= {"status": 1, "changed": False}
    assert _verdict(rows).figures["patchelf"]["does"] is None


def test_it_runs_on_this_machine_and_only_where_it_is_asked_for(setting: Setting) -> None:
    elsewhere = object.__new__(DockerBackend)  # it needs no engine to be refused
    with pytest.raises(QuotaUnavailable, match="--backend none"):
        ArticlePatch().run(replace(setting, backend=elsewhere))
    assert not ArticlePatch.cheap, "`invoke claims` would run edited copies by itself"


@pytest.mark.long
def test_its_quick_form_runs_and_is_judged(setting: Setting) -> None:
    before = hashlib.sha256(setting.program.read_bytes()).hexdigest()
    data = ArticlePatch().run(setting)
    assert data.schema == SCHEMA
    assert data["missing"].drop_nulls().to_list() == [], "patchelf, strace, gcc and linux-libc-dev are to be installed"
    assert not list(setting.folder.iterdir()), "the copies are gone"
    assert hashlib.sha256(setting.program.read_bytes()).hexdigest() == before, "the program itself is left alone"

    functions = data.filter(pl.col("part") == "function", pl.col("subject") == setting.program.name)
    assert dict(functions.select("tried", "found").iter_rows()) == {
        "runtime.nanosleep": False, "runtime.usleep": True, "runtime.netpoll": True, "time.Sleep": True,
    }  # fmt: skip
    assert dict(functions.select("tried", "number").iter_rows())["runtime.usleep"] == 35

    tried = data.filter(pl.col("part") == "patchelf")
    assert set(tried["subject"]) == {"static", "external"}
    assert tried["code_same"].all() and tried.filter(pl.col("subject") == "external")["changed"].any()
    assert tried.filter(~pl.col("changed"))["runs"].all()
    assert set(data.filter(pl.col("part") == "patchelf option")["tried"]) <= set(EDITS)

    traced = data.filter(pl.col("part") == "number", pl.col("traced"))
    edited, stock = (traced.filter((pl.col("subject") == STOCK) == wanted) for wanted in (False, True))
    assert (edited["mq_unlink"] > 0).all() and edited.select("nanosleep", "clock_nanosleep").sum().row(0) == (0, 0)
    assert (stock["mq_unlink"] == 0).all() and stock["nanosleep"].sum()
    answers = dict(edited.select("subject", "results").unique().iter_rows())
    assert answers == {ONLY_NUMBER: "-1 ENOENT", AS_CLAIMED: "-1 EFAULT"}
    assert (traced["epoll_waits"] > 0).all() and (traced["shortest_late_ns"] >= 0).all()

    builds = data.filter(pl.col("part") == "instruction", pl.col("runs").is_null())
    assert set(builds.filter(pl.col("found"))["tried"]) == {"SYSCALL", "syscall"}
    real = data.filter(pl.col("part") == "instruction", pl.col("runs").is_not_null())
    assert real["runs"].to_list() == [True, False], "only the one without entersyscall can be called there"

    found = _verdict(data.to_dicts())
    assert found.outcome == "refuted"
    assert not any(each["does"] for each in found.figures.values())
    assert len(ArticlePatch().tables(data)) == 5
