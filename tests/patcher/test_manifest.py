"""A manifest that is damaged, or was written for something else, is refused by name; nothing is done by it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import patcher
from nanonap.base.errors import NanonapError
from patcher.errors import ManifestMismatch, ProofFailed
from tests.patcher.conftest import Invoke
from tests.patcher.test_bad_input import assert_refused

Document = dict[str, Any]


@pytest.fixture(scope="module")
def patched_bytes(sleepbench: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Document]:
    out = patcher.patch(sleepbench, tmp_path_factory.mktemp("patched") / "out", "usleep", slack_ns=7).out
    document: Document = json.loads(Path(f"{out}.patch.json").read_text())
    return out.read_bytes(), document


@pytest.fixture
def patched(patched_bytes: tuple[bytes, Document], tmp_path: Path) -> Path:
    data, document = patched_bytes
    (tmp_path / "out").write_bytes(data)
    write(tmp_path / "out", json.dumps(document))
    return tmp_path / "out"


def write(patched: Path, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    Path(f"{patched}.patch.json").write_bytes(data)


def test_the_manifest_as_it_is_is_accepted(patched: Path) -> None:
    patcher.verify(patched)
    patcher.revert(patched)


GARBAGE = {
    "empty": b"",
    "binary": bytes(range(256)),
    "not UTF-8": b'{"schema": 1, "tool": "\xff"}',
    "cut short": b'{"schema": 1, "tool": "0.1.0", "edits": [',
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "an empty object": b"{}",
    "a schema alone": b'{"schema": 1}',
    "deeply nested": b"[" * 100_000,
    "a huge number": b'{"schema": ' + b"9" * 5000 + b"}",
    "too large": b" " * (2 << 20),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_refused(patched: Path, what: str) -> None:
    write(patched, GARBAGE[what])
    before = patched.read_bytes()
    for undo in (patcher.verify, patcher.revert):
        with pytest.raises(ManifestMismatch, match=r"out\.patch\.json: ") as refused:
            undo(patched)
        assert "\n" not in str(refused.value)
    assert patched.read_bytes() == before


def test_garbage_is_one_line_and_its_status_on_the_command_line(invoke: Invoke, patched: Path) -> None:
    write(patched, "{}")
    for task in ("verify", "revert"):
        assert_refused(invoke(task, patched), 25, "out.patch.json", "not a manifest of a patch")


def test_a_manifest_that_is_a_folder_is_no_manifest(invoke: Invoke, patched: Path) -> None:
    Path(f"{patched}.patch.json").unlink()
    Path(f"{patched}.patch.json").mkdir()
    for task in ("verify", "revert"):
        assert_refused(invoke(task, patched), 26, "no readable manifest")


def set_to(*path: str | int, value: object) -> Callable[[Document], None]:
    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


DAMAGE: dict[str, Callable[[Document], None]] = {
    "a later schema": set_to("schema", value=2),
    "no edits": set_to("edits", value=[]),
    "edits that are no list": set_to("edits", value=7),
    "an edit that is no object": set_to("edits", 0, value=7),
    "an odd number of digits": set_to("edits", 0, "new", value="abc"),
    "digits that are none": set_to("edits", 0, "old", value="zz"),
    "bytes of two lengths": set_to("edits", 0, "old", value=""),
    "a negative offset": set_to("edits", 0, "offset", value=-5),
    "an offset beyond the end": set_to("edits", 0, "offset", value=1 << 40),
    "an offset beyond all": set_to("edits", 0, "offset", value=1 << 70),
    "an infinite offset": set_to("edits", 0, "offset", value=float("inf")),
    "an address that is none": set_to("edits", 0, "address", value="here"),
    "an infinite address": set_to("edits", 0, "address", value=float("inf")),
    "other old bytes": set_to("edits", 0, "old", value="90" * 15),
    "another input": set_to("input", "sha256", value="0" * 64),
    "another output": set_to("output", "sha256", value="0" * 64),
    "another size": set_to("output", "size", value=1),
    "a wait that no patch can have": set_to("quantum_ns", value=0),
    "a wait that is no number": set_to("quantum_ns", value="long"),
    "two waits that exclude each other": lambda document: document.update(quantum_ns=500, spin_ns=5000),
    "no settings": set_to("go", value=None),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_manifest_is_refused(patched: Path, patched_bytes: tuple[bytes, Document], what: str) -> None:
    document = json.loads(json.dumps(patched_bytes[1]))
    DAMAGE[what](document)
    write(patched, json.dumps(document))
    with pytest.raises(ManifestMismatch) as refused:
        patcher.verify(patched)
    assert "\n" not in str(refused.value)


MISLEADING: dict[str, Callable[[Document], None]] = {
    "an unknown strategy": set_to("strategy", value="magic"),
    "another strategy": set_to("strategy", value="netpoll"),
    "strategy slack alone": set_to("strategy", value="slack"),
    "no slack": set_to("slack_ns", value=None),
    "a wait that its strategy has not": set_to("spin_ns", value=40_000),
    "another slack": set_to("slack_ns", value=8),
    "another place in memory": set_to("edits", 0, "address", value=0x401000),
    "a purpose that hides the entry stub": set_to("edits", 2, "purpose", value="nothing"),
    "a function that hides the header": set_to("edits", 3, "function", value="nothing"),
}


@pytest.mark.parametrize("what", MISLEADING)
def test_a_manifest_that_misleads_the_proof_is_not_verified(
    patched: Path, patched_bytes: tuple[bytes, Document], what: str
) -> None:
    """The bytes are right; what is said of them is not."""
    document = json.loads(json.dumps(patched_bytes[1]))
    MISLEADING[what](document)
    write(patched, json.dumps(document))
    with pytest.raises((ManifestMismatch, ProofFailed)) as refused:
        patcher.verify(patched)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("what", [*DAMAGE, *MISLEADING])
def test_no_manifest_makes_revert_write_anything_but_the_original(
    patched: Path, patched_bytes: tuple[bytes, Document], sleepbench: Path, what: str
) -> None:
    data, right = patched_bytes
    document = json.loads(json.dumps(right))
    {**DAMAGE, **MISLEADING}[what](document)
    write(patched, json.dumps(document))
    try:
        patcher.revert(patched)
    except NanonapError:
        assert patched.read_bytes() == data
    else:
        assert patched.read_bytes() == sleepbench.read_bytes()
