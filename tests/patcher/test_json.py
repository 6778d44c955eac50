"""What --json promises to scripts: one document on stdout, every documented field, of the documented type."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import nanonap
import patcher
from nanonap.base.paths import BUILD
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.manifest import read_manifest
from tests.conftest import BuildProgram
from tests.patcher.conftest import Answer, Invoke
from tests.soon import soon

# A type, a tuple of types, a list of one description, or names with descriptions. Additions are free.
Described = Any

GO = {"version": str, "arch": str, "settings": dict}
FILE = {"sha256": str, "size": int}
EDIT = {
    "function": str,
    "purpose": str,
    "address": int,
    "offset": int,
    "old": str,
    "new": str,
    "assembly": str,
}
MANIFEST = {
    "schema": int,
    "tool": str,
    "strategy": str,
    "slack_ns": (int, type(None)),
    "quantum_ns": (int, type(None)),
    "dense_ns": (int, type(None)),
    "spin_ns": (int, type(None)),
    "go": GO,
    "input": FILE,
    "output": FILE,
    "edits": [EDIT],
    "new_syscalls": [str],
    "proof": {"cases": int, "passed": int},
}
SECCOMP = {"packages": [str], "calls": [{"function": str, "address": int, "call": str}]}
APPLICABILITY = {
    "applies": bool,
    "reason": (str, type(None)),
    "sites": [{"function": str, "address": int}],
}
INSPECTION = {
    "path": str,
    "sha256": str,
    "go": GO,
    "layout": {"pie": bool, "stripped": bool, "cgo": bool, "race": bool},
    "patched": (dict, type(None)),
    "strategies": dict.fromkeys(("usleep", "sleep", "netpoll", "slack"), APPLICABILITY),
    "syscalls": [{"function": str, "address": int, "number": (int, type(None)), "name": str}],
    "seccomp": SECCOMP,
}


def assert_described(document: Any, described: Described, where: str = "document") -> None:
    if isinstance(described, dict):
        assert isinstance(document, dict), where
        for name, each in described.items():
            assert name in document, f"{where}.{name}"
            assert_described(document[name], each, f"{where}.{name}")
    elif isinstance(described, list):
        assert isinstance(document, list), where
        for index, each in enumerate(document):
            assert_described(each, described[0], f"{where}[{index}]")
    else:
        assert isinstance(document, described), f"{where}: {document!r}"
        assert not isinstance(document, bool) or described is bool, f"{where}: {document!r}"


def document_of(answer: Answer) -> dict[str, Any]:
    """The one document; json.loads refuses a second, and text around it."""
    assert (answer.status, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert isinstance(found, dict)
    return found


def test_patch_verify_and_revert_each_print_their_document(invoke: Invoke, program: Path, sleepbench: Path) -> None:
    out = program.with_name("out")
    done = document_of(invoke("patch", "--binary", program, "--out", out, "--slack-ns", "7", "--json"))
    assert_described(done, MANIFEST)
    assert_described(done, {"out": str, "warnings": [str], "seccomp": SECCOMP})
    assert (done["out"], done["strategy"], done["slack_ns"]) == (str(out), "netpoll", 7)
    assert done["new_syscalls"] == ["epoll_pwait2", "prctl"]

    checked = document_of(invoke("verify", out, "--json"))
    assert_described(checked, {"path": str, "verified": bool, "strategy": str, "proof": MANIFEST["proof"]})
    assert (checked["verified"], checked["strategy"], checked["slack_ns"]) == (True, "netpoll", 7)
    assert checked["proof"] == done["proof"]

    undone = document_of(invoke("revert", out, "--json"))
    original = done["input"]["sha256"]
    assert undone == {"out": str(out), "reverted": True, "by": "manifest", "sha256": original, "warnings": []}
    assert out.read_bytes() == sleepbench.read_bytes()


def test_the_manifest_beside_the_binary_is_what_patch_printed(invoke: Invoke, program: Path) -> None:
    out = program.with_name("out")
    printed = document_of(invoke("patch", "--binary", program, "--out", out, "--strategy", "usleep", "--json"))
    written = json.loads(Path(f"{out}.patch.json").read_text(encoding="utf-8"))
    assert_described(written, MANIFEST)
    assert printed == {"out": str(out), "warnings": [], "seccomp": {"packages": [], "calls": []}, **written}
    assert (written["schema"], written["tool"], written["slack_ns"]) == (1, nanonap.__version__, None)
    assert written["proof"]["cases"] == written["proof"]["passed"] > 0
    assert written["go"]["version"] == f"go{DEFAULT_GO}"
    assert written["go"]["arch"] == "amd64"
    assert written["go"]["settings"]["-trimpath"] == "true"
    data = program.read_bytes()
    assert written["input"]["size"] == written["output"]["size"] == len(data)
    for edit in written["edits"]:
        old, new = bytes.fromhex(edit["old"]), bytes.fromhex(edit["new"])
        assert len(old) == len(new)
        assert data[edit["offset"] : edit["offset"] + len(old)] == old
    assert read_manifest(Path(f"{out}.patch.json")).text() == json.dumps(written, indent=1) + "\n"


@pytest.mark.parametrize(
    ("mode", "layout"),
    [
        ("default", {"pie": False, "stripped": False, "cgo": False, "race": False}),
        ("stripped", {"pie": False, "stripped": True, "cgo": False, "race": False}),
        ("pie", {"pie": True, "stripped": False, "cgo": False, "race": False}),
        ("external", {"pie": False, "stripped": False, "cgo": True, "race": False}),
        pytest.param("race", {"pie": False, "stripped": False, "cgo": True, "race": True}, marks=pytest.mark.long),
    ],
)
def test_inspect_describes_a_stock_binary(
    invoke: Invoke, build_program: BuildProgram, mode: str, layout: dict[str, bool]
) -> None:
    path = build_program("sleepbench", mode=mode)
    seen = document_of(invoke("inspect", path, "--json"))
    assert_described(seen, INSPECTION)
    assert (seen["path"], seen["patched"]) == (str(path), None)
    assert {name: seen["layout"][name] for name in layout} == layout
    assert {".text", ".gopclntab"} & set(seen["layout"]["sections"])
    assert seen["layout"]["free_bytes"] > 0
    paths = {each["function"]: each for each in seen["sleep_paths"]}
    assert list(paths) == ["runtime.netpoll", "time.Sleep", "runtime.usleep"]
    assert all(each["address"] and each["shape"] and each["reason"] is None for each in paths.values())
    assert "whole milliseconds" in paths["runtime.netpoll"]["shape"]
    assert "runtime.sysmon" in {each["function"] for each in seen["usleep_callers"]}
    assert seen["go"]["version"] == f"go{DEFAULT_GO}"
    for each in seen["strategies"].values():
        assert each["applies"]
        assert each["reason"] is None
        assert each["sites"]
    assert [each["function"] for each in seen["strategies"]["sleep"]["sites"]] == ["time.Sleep"]
    assert [(each["number"], each["name"]) for each in seen["syscalls"]] == [(281, "epoll_pwait"), (35, "nanosleep")]


def test_inspect_describes_a_patched_binary(invoke: Invoke, program: Path) -> None:
    out = program.with_name("out")
    document_of(invoke("patch", "--binary", program, "--out", out, "--slack-ns", "50000", "--json"))
    seen = document_of(invoke("inspect", out, "--json"))
    assert_described(seen, INSPECTION)
    assert_described(seen["patched"], {"strategy": str, "slack_ns": (int, type(None))})
    assert (seen["patched"]["strategy"], seen["patched"]["slack_ns"]) == ("netpoll", 50_000)
    assert not any(each["applies"] for each in seen["strategies"].values())
    assert all("already patched" in each["reason"] for each in seen["strategies"].values())
    assert (441, "epoll_pwait2") in [(each["number"], each["name"]) for each in seen["syscalls"]]
    assert (seen["patched"]["manifest"], seen["patched"]["record"]) == (True, True)
    path = next(each for each in seen["sleep_paths"] if each["function"] == "runtime.netpoll")
    assert (path["shape"], path["reason"]) == (None, "patched by strategy netpoll")


WAITS = (
    patcher.Wait(quantum_ns=500_000),
    patcher.Wait(quantum_ns=4_000_000_000, dense_ns=32_768),
    patcher.Wait(quantum_ns=77, dense_ns=7),
    patcher.Wait(spin_ns=40_000),
)


@pytest.mark.parametrize("wait", soon(WAITS, 1, long=(0, -1)), ids=lambda each: each.suffix)
def test_every_document_tells_how_the_patch_waits(invoke: Invoke, program: Path, wait: patcher.Wait) -> None:
    asked = wait.to_json()
    options = [word for name, value in asked.items() if value for word in (f"--{name.removesuffix('_ns')}", str(value))]
    out = program.with_name(f"program.netpoll{wait.suffix}")
    done = document_of(invoke("patch", "--binary", program, *options, "--json"))
    assert_described(done, MANIFEST)
    assert done["out"] == str(out)
    for document in (done, document_of(invoke("verify", out, "--json"))):
        assert {name: document[name] for name in asked} == asked
    Path(f"{out}.patch.json").unlink()  # its own code tells inspect, its record tells verify
    seen = document_of(invoke("inspect", out, "--json"))["patched"]
    assert {name: seen[name] for name in asked} == asked
    checked = document_of(invoke("verify", out, "--json"))
    assert (checked["by"], {name: checked[name] for name in asked}) == ("record", asked)
    assert document_of(invoke("revert", out, "--json"))["sha256"] == done["input"]["sha256"]


def test_inspect_follows_a_patched_usleep_to_the_numbers_in_the_padding(invoke: Invoke, program: Path) -> None:
    out = program.with_name("out")
    document_of(invoke("patch", "--binary", program, "--out", out, "--strategy", "usleep", "--json"))
    seen = document_of(invoke("inspect", out, "--json"))
    numbers = [each["number"] for each in seen["syscalls"] if each["function"] == "runtime.usleep"]
    assert sorted(numbers) == [35, 230]


@pytest.mark.parametrize("mode", ["default", "pie"])
def test_the_callers_of_usleep_are_those_of_objdump(build_program: BuildProgram, mode: str) -> None:
    """binutils' objdump reads the same code by itself."""
    path = build_program("sleepbench", mode=mode)
    command = ["objdump", "--disassemble", "--no-show-raw-insn", "--section=.text", str(path)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    called = re.compile(r" *([0-9a-f]+):\s+call +[0-9a-f]+ <runtime\.usleep(?:\.abi0)?>")
    expected = [int(match[1], 16) for match in map(called.fullmatch, listing.splitlines()) if match]
    assert len(expected) > 5
    assert [each.address for each in patcher.inspect(path).usleep_callers] == expected


@pytest.mark.parametrize(
    "task", [("patch", "--binary"), ("inspect",), ("verify",), ("revert",)], ids=lambda each: each[0]
)
def test_an_error_leaves_stdout_empty(invoke: Invoke, tmp_path: Path, task: tuple[str, ...]) -> None:
    answer = invoke(*task, tmp_path / "nosuch", "--json")
    assert (answer.status, answer.out) == (3, "")
    assert answer.err.count("\n") == 1


def test_patch_of_all_that_was_built_prints_one_document(invoke: Invoke) -> None:
    """Its pre-task builds, and what that has to say goes to stderr."""
    answer = invoke("patch", "--strategy", "netpoll", "--json")
    assert answer.status == 0
    outcomes = json.loads(answer.out)["patched"]
    assert_described(outcomes, [{"program": str, "variant": str}])
    built = str(BUILD / DEFAULT_GO / "default" / "sleepbench")
    ours = [each for each in outcomes if each["program"] == built]
    assert len(ours) == 1
    assert_described(ours[0], MANIFEST)
