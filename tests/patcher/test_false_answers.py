"""What the reader of a file may not say, though the file made it say it."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import patcher
from nanonap.lab.ground.errors import QuotaUnavailable
from patcher.answers import encode
from patcher.errors import InternalFault, ReaderTooLarge
from patcher.inspection import Inspection
from patcher.isolation import Job, isolated
from patcher.patching import Planned


def job(function: Callable[..., object]) -> str:
    return f"{__name__}:{function.__name__}"


def sends(_: Path, text: str) -> NoReturn:
    """As a reader does that a file has taken over: it writes what it likes where the answer goes."""
    (answers,) = pipes()
    os.write(answers, text.encode())
    os._exit(0)


def pipes() -> list[int]:
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # of the folder itself, which is closed again
            if each.readlink().name.startswith("pipe:"):
                found.append(int(each.name))
    return found


def answered(path: Path, kind: type[Any], document: object) -> None:
    isolated(path, job(sends), kind, text=document if isinstance(document, str) else json.dumps(document))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "\ud800",
        "[" * 100_000,
        '{"result": ' + "9" * 10_000 + "}",
        "{}",
        '{"error": "KeyError", "message": "x"}',
        '{"error": "ShapeMismatch"}',
        '{"error": "ShapeMismatch", "message": 7}',
        '{"error": ["ShapeMismatch"], "message": "x"}',
    ],
    ids=str.__len__,
)
def test_what_is_no_answer_is_refused_in_a_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InternalFault, match=r"an answer that cannot be .*nothing was written") as refused:
        answered(tmp_path, str, text.encode("utf-8", "replace").decode())
    assert "\n" not in str(refused.value)


Damage = Callable[[Any], object]


def _at(*path: str | int) -> Callable[[Any], Any]:
    def found(document: Any) -> Any:
        for each in path:
            document = document[each]
        return document

    return found


def _set(*path: str | int, to: object) -> Damage:
    return lambda document: _at(*path[:-1])(document).__setitem__(path[-1], to)


def _without(*path: str | int) -> Damage:
    return lambda document: _at(*path[:-1])(document).__delitem__(path[-1])


INSPECTIONS: dict[str, Damage] = {
    "no object": lambda document: document.clear(),
    "negative address": _set("syscalls", 0, "address", to=-1),
    "address of 65 bits": _set("syscalls", 0, "address", to=1 << 64),
    "address of text": _set("syscalls", 0, "address", to="0x401000"),
    "address of half": _set("syscalls", 0, "address", to=0.5),
    "address that is true": _set("sleep_paths", 0, "address", to=True),
    "name of number": _set("usleep_callers", 0, "function", to=7),
    "list that is none": _set("syscalls", to={"0": {}}),
    "object that is none": _set("go", "settings", to=[]),
    "text that is null": _set("sha256", to=None),
    "settings of numbers": _set("go", "settings", to={"GOOS": 7}),
    "no layout": _without("layout"),
    "no reason": _without("strategies", "sleep", "reason"),
}
PLANS: dict[str, Damage] = {
    "offset behind the file": _set("manifest", "edits", 0, "offset", to=1 << 40),
    "negative offset": _set("manifest", "edits", 0, "offset", to=-8),
    "bytes that are none": _set("manifest", "edits", 0, "new", to="zz"),
    "more bytes than there were": _set("manifest", "edits", 0, "new", to="90" * 4096),
    "another strategy": _set("manifest", "strategy", to="sleep"),
    "another slack": _set("manifest", "slack_ns", to=7),
    "another wait": _set("manifest", "wait", "spin_ns", to=70_000),
    "no filters": _without("filters"),
}


@pytest.fixture(scope="module")
def inspection(sleepbench: Path) -> Any:
    return encode(patcher.inspect(sleepbench))


@pytest.fixture(scope="module")
def plan(sleepbench: Path) -> Any:
    return encode(isolated(sleepbench, "patcher.patching:planned", Planned, strategy="netpoll", slack_ns=None))


def damaged(document: Any, damage: Damage) -> Any:
    copy = json.loads(json.dumps(document))
    damage(copy)
    return {"result": copy}


@pytest.mark.parametrize("damage", INSPECTIONS.values(), ids=INSPECTIONS)
def test_an_inspection_of_a_wrong_shape_is_refused(sleepbench: Path, inspection: Any, damage: Damage) -> None:
    answered(sleepbench, Inspection, damaged(inspection, dict))
    with pytest.raises(InternalFault, match=r"an answer that cannot be \(the answer.*(expected|lacks)"):
        answered(sleepbench, Inspection, damaged(inspection, damage))


@pytest.mark.parametrize("damage", PLANS.values(), ids=PLANS)
def test_a_plan_that_cannot_be_is_not_written(
    program: Path, plan: Any, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = program.with_name("out")

    def taken_over(path: Path, _headers: Job[bool], planned: Job[Any], **_: object) -> object:
        return True, isolated(path, job(sends), planned.kind, text=json.dumps(damaged(plan, damage)))

    monkeypatch.setattr("patcher.patching.both_isolated", taken_over)
    with pytest.raises(InternalFault, match="an answer that cannot be"):
        patcher.patch(program, out)
    assert list(program.parent.iterdir()) == [program]


def test_an_answer_without_end_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(ReaderTooLarge):
        isolated(tmp_path, job(talks), str)


def talks(_: Path) -> str:
    return "x" * (5 << 20)


def test_an_error_that_no_reader_raises_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InternalFault, match="an answer that cannot be"):
        answered(tmp_path, str, {"error": QuotaUnavailable.__name__, "message": "x", "parameters": []})
