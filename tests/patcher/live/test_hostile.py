"""A program that took its reader over, or would take hours to be looked at: an error in a line, and nothing changed."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import patcher
from patcher.answers import WrongShape, decode, encode
from patcher.errors import InternalFault
from patcher.file.content import LARGEST
from patcher.isolation import isolated
from patcher.live import injecting, planning
from patcher.live.script import Script, Spans
from tests.conftest import BuildProgram
from tests.patcher.live.targets import Codes, running
from tests.patcher.test_false_answers import job, sends
from tests.soon import soon

_SPANS: dict[str, list[list[int]]] = {
    "more than there is memory": [[0x400000, 1 << 62]],
    "much, in pieces": [[0x400000, 1 << 16]] * 17,
    "beyond all addresses": [[(1 << 64) - 1, 1]],
}
_SCRIPTS: dict[str, dict[str, Any]] = {
    "no site": {"sites": []},
    "another action": {"wanted": "stock"},
    "no bytes": {"windows": []},
}


def _damaged(script: Any, damage: dict[str, Any]) -> Any:
    if "sites" in damage:
        return script | damage
    return script | {"sites": [each | damage for each in script["sites"]]}


@pytest.mark.parametrize("what", soon([*_SPANS, *_SCRIPTS], 0, -1))
def test_a_reader_that_was_taken_over_leads_to_one_line(
    build_program: BuildProgram, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def taken_over(path: Path, asked: str, kind: type[Any], **given: Any) -> object:
        document = encode(isolated(path, asked, kind, **given))
        if kind is Spans and what in _SPANS:
            document = document | {"spans": _SPANS[what]}
        if kind is Script and what in _SCRIPTS:
            document = _damaged(document, _SCRIPTS[what])
        return isolated(path, job(sends), kind, keep=given["keep"], text=json.dumps({"result": document}))

    path = build_program("survive")
    with running(path, "-mode", "wait", "-sleepers", "5", "-for", "1000s") as target:
        monkeypatch.setattr(planning, "isolated", taken_over)
        with pytest.raises(InternalFault, match="an answer that cannot be") as refused:
            patcher.inject(target.pid)
        assert "\n" not in str(refused.value)
        codes = Codes.of(path)
        assert codes.in_memory(target) == codes.spot.stock


def test_a_number_of_thousands_of_digits_is_none() -> None:
    for kind, value in ((dict[int, int], {"9" * 5000: 1}), (float, 10**400), (float, True)):
        with pytest.raises(WrongShape, match="number"):
            decode(kind, value)


def test_a_program_of_holes_is_not_read_through(tmp_path: Path) -> None:
    """A process of another user's, which keeps everybody's `status` busy."""
    path = Path(shutil.copy(shutil.which("sleep") or "/bin/sleep", tmp_path / "sleep"))
    with path.open("r+b") as stream:
        stream.truncate(LARGEST << 1)
    process = subprocess.Popen([path, "1000"])
    try:
        with pytest.raises(patcher.errors.MalformedBinary, match="a program has at most"):
            injecting._may_be_go(process.pid)
        assert process.pid not in [each.pid for each in patcher.running()]
    finally:
        process.kill()
        process.wait()
