"""verify finds any change of a patched file; revert gives the original back, byte for byte, without the original."""

import hashlib
import json
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import OutputExists
from patcher import record
from patcher.edit.edit import Edit
from patcher.errors import ManifestMismatch, NotPatched, SameFile
from patcher.patching import UNDO_RECORD
from tests.conftest import BuildProgram
from tests.patcher.conftest import Invoke
from tests.patcher.test_bad_input import assert_refused
from tests.soon import soon

PRECISE = patcher.Wait()
VARIANTS = (
    ("netpoll", None, PRECISE),
    ("netpoll", 1, PRECISE),
    ("netpoll", None, patcher.Wait(quantum_ns=500_000)),
    ("netpoll", 1, patcher.Wait(quantum_ns=500_000, dense_ns=32_768)),
    ("netpoll", 1, patcher.Wait(spin_ns=40_000)),
    ("sleep", None, PRECISE),
    ("sleep", 1 << 40, PRECISE),
    ("usleep", 7, PRECISE),
    ("slack", 50_000, PRECISE),
)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def patched(program: Path) -> patcher.Patched:
    """A patch of every kind of edit at once; the original is gone."""
    done = patcher.patch(program, program.with_name("out"), "usleep", slack_ns=1)
    program.unlink()
    return done


def change(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(("strategy", "slack_ns", "wait"), VARIANTS)
@pytest.mark.parametrize("mode", soon(["default", "pie"], 0))
def test_every_patch_can_be_verified_and_undone(
    build_program: BuildProgram, tmp_path: Path, strategy: str, slack_ns: int | None, wait: patcher.Wait, mode: str
) -> None:
    source, out = build_program("sleepbench", mode=mode), tmp_path / "out"
    done = patcher.patch(source, out, strategy, slack_ns=slack_ns, wait=wait, accept_thread_cost=True)
    assert patcher.verify(out).proof == done.manifest.proof
    assert patcher.verify(out).manifest.wait == wait
    assert (done.manifest.input.sha256, done.manifest.output.sha256) == (sha256(source), sha256(out))
    assert sha256(patcher.revert(out).out) == sha256(source) != done.manifest.output.sha256


def test_revert_in_place_needs_no_original_and_takes_the_manifest_along(
    patched: patcher.Patched, sleepbench: Path
) -> None:
    assert patcher.revert(patched.out).out == patched.out
    assert [each.name for each in patched.out.parent.iterdir()] == ["out"]
    assert patched.out.read_bytes() == sleepbench.read_bytes()
    with pytest.raises(NotPatched):
        patcher.revert(patched.out)


def test_revert_to_another_place_keeps_the_patch(patched: patcher.Patched, sleepbench: Path) -> None:
    original = patcher.revert(patched.out, patched.out.with_name("original")).out
    assert original.read_bytes() == sleepbench.read_bytes()
    assert patcher.verify(patched.out).manifest == patched.manifest


def test_revert_does_not_overwrite_unasked(patched: patcher.Patched, sleepbench: Path) -> None:
    original = patched.out.with_name("original")
    original.write_text("precious")
    with pytest.raises(OutputExists):
        patcher.revert(patched.out, original)
    assert original.read_text() == "precious"
    with pytest.raises(SameFile):
        patcher.revert(patched.out, patched.out, force=True)
    patcher.revert(patched.out, original, force=True)
    assert original.read_bytes() == sleepbench.read_bytes()


def test_a_binary_and_its_manifest_may_move_together(patched: patcher.Patched) -> None:
    moved = patched.out.parent / "moved"
    moved.mkdir()
    for each in ("out", "out.patch.json"):
        patched.out.with_name(each).rename(moved / each.replace("out", "service"))
    patcher.verify(moved / "service")
    patcher.revert(moved / "service")


def test_a_change_in_any_edit_is_found(patched: patcher.Patched) -> None:
    assert len(patched.manifest.edits) == 7
    for edit in patched.manifest.edits:
        for offset in (edit.offset, edit.offset + len(edit.new) - 1):
            change(patched.out, offset)
            with pytest.raises(ManifestMismatch, match=rf"offset {edit.offset:#x}: expected the manifest's bytes"):
                patcher.verify(patched.out)
            with pytest.raises(ManifestMismatch):
                patcher.revert(patched.out)
            change(patched.out, offset)
    patcher.verify(patched.out)


@pytest.mark.parametrize("where", ["header", "code", "between the edits", "end"])
def test_a_change_outside_the_edits_is_found(patched: patcher.Patched, where: str) -> None:
    code = next(each for each in patched.manifest.edits if each.function == "runtime.usleep")
    offset = {
        "header": 9,
        "code": code.offset - 1,
        "between the edits": code.offset + len(code.new),
        "end": patched.manifest.output.size - 1,
    }[where]
    change(patched.out, offset)
    for undo in (patcher.verify, patcher.revert):
        with pytest.raises(ManifestMismatch, match="changed outside the patch"):
            undo(patched.out)


@pytest.mark.parametrize("by", [-1, 1])
def test_another_length_is_found(patched: patcher.Patched, by: int) -> None:
    data = patched.out.read_bytes()
    patched.out.write_bytes(data[:-1] if by < 0 else data + b"\0")
    for undo in (patcher.verify, patcher.revert):
        with pytest.raises(ManifestMismatch):
            undo(patched.out)


def test_a_refusal_leaves_the_file_alone(invoke: Invoke, patched: patcher.Patched) -> None:
    change(patched.out, 5000)
    before = {each.name: each.read_bytes() for each in patched.out.parent.iterdir()}
    for task in ("verify", "revert"):
        assert_refused(invoke(task, patched.out), 25, "changed outside the patch")
    assert {each.name: each.read_bytes() for each in patched.out.parent.iterdir()} == before


def forget(patched: patcher.Patched) -> Path:
    """Lose the manifest; its path."""
    manifest = Path(f"{patched.out}.patch.json")
    manifest.unlink()
    return manifest


def test_without_its_manifest_the_binary_is_verified_and_undone_from_what_it_carries(
    invoke: Invoke, patched: patcher.Patched, sleepbench: Path
) -> None:
    forget(patched)
    told = json.loads(invoke("verify", patched.out, "--json").out)
    assert (told["by"], told["strategy"], told["slack_ns"]) == ("record", "usleep", 1)
    told = json.loads(invoke("revert", patched.out, "--json").out)
    assert (told["by"], told["reverted"], told["sha256"]) == ("record", True, sha256(sleepbench))
    assert patched.out.read_bytes() == sleepbench.read_bytes()


@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_check_says_whether_it_can_be_undone_and_writes_nothing(
    invoke: Invoke, patched: patcher.Patched, sleepbench: Path, with_manifest: bool
) -> None:
    if not with_manifest:
        forget(patched)
    before = {each.name: each.read_bytes() for each in patched.out.parent.iterdir()}
    answer = invoke("revert", patched.out, "--check")
    assert answer.status == 0
    assert sha256(sleepbench) in answer.out
    change(patched.out, 5000)
    assert invoke("revert", patched.out, "--check").status == 25
    change(patched.out, 5000)
    assert {each.name: each.read_bytes() for each in patched.out.parent.iterdir()} == before


def test_a_missing_manifest_and_record_are_named(invoke: Invoke, patched: patcher.Patched) -> None:
    manifest = forget(patched)
    change(patched.out, place_of_record(patched).offset)
    for task in ("verify", "revert"):
        answer = invoke(task, patched.out)
        assert_refused(answer, 26, str(manifest), "put it back beside its binary", "carries no undo record")


def place_of_record(patched: patcher.Patched) -> Edit:
    return next(each for each in patched.manifest.edits if each.purpose == UNDO_RECORD)


def test_a_change_of_a_binary_without_manifest_is_found(invoke: Invoke, patched: patcher.Patched) -> None:
    forget(patched)
    for offset in (5000, place_of_record(patched).offset + 30):  # outside the patch, and in the record itself
        change(patched.out, offset)
        for task in ("verify", "revert"):
            assert invoke(task, patched.out).status in (25, 26)
        change(patched.out, offset)
    patcher.verify(patched.out)


def test_a_record_of_another_strategy_is_found_out(patched: patcher.Patched, sleepbench: Path) -> None:
    """A record gives the original back, so its strategy is checked by making the edits anew."""
    place, edits = place_of_record(patched), patched.manifest.edits
    carried = [each for each in edits if each is not place]
    lie = record.encode("netpoll", 1, patched.manifest.input, carried)
    data = patched.out.read_bytes()
    at = place.offset
    patched.out.write_bytes(
        data[:at] + lie + bytes(max(0, len(place.new) - len(lie))) + data[at + max(len(lie), len(place.new)) :]
    )
    forget(patched)
    with pytest.raises(ManifestMismatch, match="the record was altered"):
        patcher.verify(patched.out)
    assert patcher.revert(patched.out).sha256 == sha256(sleepbench)


def test_what_was_written_before_there_were_these_options_is_read(patched: patcher.Patched, sleepbench: Path) -> None:
    path = Path(f"{patched.out}.patch.json")
    document = json.loads(path.read_text())
    for name in patched.manifest.wait.to_json():
        assert document.pop(name) is None
    path.write_text(json.dumps(document))
    assert patcher.verify(patched.out).manifest == patched.manifest
    forget(patched)  # the record does not name what was not asked for
    assert patcher.verify(patched.out).manifest == patched.manifest
    assert patcher.revert(patched.out).sha256 == sha256(sleepbench)


def test_a_wrong_manifest_beside_a_good_record_is_said(patched: patcher.Patched) -> None:
    Path(f"{patched.out}.patch.json").write_text("{}")
    for undo in (patcher.verify, patcher.revert):
        with pytest.raises(ManifestMismatch, match="move the manifest away"):
            undo(patched.out)


@pytest.mark.parametrize("damage", ["length", "checksum", "content", "not JSON", "offset beyond the file", "no field"])
def test_a_damaged_record_is_none(patched: patcher.Patched, damage: str) -> None:
    data = bytearray(patched.out.read_bytes())
    at = place_of_record(patched).offset
    bodies = {
        "not JSON": b"{",
        "offset beyond the file": b'{"slack_ns":1,"strategy":"usleep","tool":"","input":"","old":[[99999999999,"00"]]}',
        "no field": b"{}",
    }
    if damage in bodies:
        body = zlib.compress(bodies[damage])
        data[at + 8 : at + 14 + len(body)] = struct.pack("<HI", len(body), zlib.crc32(body)) + body
    else:
        data[at + {"length": 9, "checksum": 12, "content": 40}[damage]] ^= 0x80
    assert list(record.find(bytes(data))) == []


def test_strip_keeps_what_lies_in_the_padding(build_program: BuildProgram, tmp_path: Path) -> None:
    """GNU strip copies a file by its sections."""
    out = tmp_path / "out"
    patcher.patch(build_program("sleepbench"), out, "usleep", slack_ns=1)
    subprocess.run(["strip", out], check=True)
    run = subprocess.run([out, "-plan", "100us*3", "-method", "usleep"], capture_output=True, check=True)
    assert json.loads(run.stdout.partition(b"\n")[0])["timer_slack_ns"] == 1
    forgotten = Path(f"{out}.patch.json")
    forgotten.unlink()
    with pytest.raises(ManifestMismatch, match="changed after it was patched"):
        patcher.revert(out)


def test_a_stock_binary_beside_anothers_manifest_is_refused(patched: patcher.Patched, sleepbench: Path) -> None:
    patched.out.write_bytes(sleepbench.read_bytes())
    for undo in (patcher.verify, patcher.revert):
        with pytest.raises(ManifestMismatch, match="the manifest belongs to another file"):
            undo(patched.out)


@pytest.mark.parametrize("words", [("verify",), ("revert",), ("revert", "--check")], ids=" ".join)
def test_a_stock_program_is_not_patched(invoke: Invoke, program: Path, words: tuple[str, ...]) -> None:
    before = program.read_bytes()
    assert_refused(invoke(*words, program), 26, f"{program}: not patched; there is nothing to")
    assert program.read_bytes() == before
