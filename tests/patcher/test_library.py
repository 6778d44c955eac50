"""The library as its page describes it, and what the page leaves out: every kind of path, source and error."""

import ast
import io
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import patcher
from nanonap.base.errors import NanonapError
from nanonap.base.paths import PROJECT
from patcher import isolation
from patcher.wait import PRECISE

PAGE = PROJECT / "docs/library.md"


def examples() -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


def test_the_examples_of_the_page_run_as_they_stand(sleepbench: Path, tmp_path: Path) -> None:
    shutil.copy2(sleepbench, tmp_path / "service")
    text = examples()
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", text],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "", done.stderr  # whole: pytest shows a part
    assert done.stdout.startswith("go1.27.3 amd64\n")
    assert "service.spinning: exists already" in done.stdout
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "image.tar",
        "patched.tar",
        "reverted.tar",
        "service",
        "service.netpoll",
        "service.spinning",
        "service.spinning.patch.json",
    ]


def test_the_page_names_every_public_function() -> None:
    functions = {each for each in patcher.__all__ if each.islower()}
    assert {each for each in functions if f"patcher.{each}(" not in examples()} == set()


def test_what_is_exported_is_there_and_every_error_is() -> None:
    """All errors that the packages below the library define, but what belongs to the command."""
    assert [each for each in patcher.__all__ if not hasattr(patcher, each)] == []
    for module in pkgutil.walk_packages(patcher.__path__, "patcher."):
        __import__(module.name)
    ours = {each.__name__ for each in subclasses(NanonapError) if each.__module__.startswith("patcher.")}
    raised = {node.func.id for path in (PROJECT / "patcher").rglob("*.py") for node in raises(path)}
    known = {each.__name__ for each in subclasses(NanonapError)}
    assert (ours | raised & known) - {*patcher.__all__} == set()


def raises(path: Path) -> list[Any]:
    found = [node.exc for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Raise)]
    return [each for each in found if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)]


def subclasses(kind: type[NanonapError]) -> set[type[NanonapError]]:
    return {each for own in kind.__subclasses__() for each in (own, *subclasses(own))}


def test_a_path_may_be_text(program: Path) -> None:
    out = f"{program}.out"
    assert patcher.patch(str(program), out, "usleep").out == Path(out)
    assert patcher.verify(out).path == Path(out)
    assert patcher.inspect(out).path == Path(out)
    assert patcher.revert(out, f"{out}.original").out == Path(f"{out}.original")
    assert patcher.revert(out).out == Path(out)


def test_the_output_is_by_default_beside_the_input_and_named_after_the_patch(program: Path) -> None:
    wait = patcher.Wait(spin_ns=60_000)
    assert patcher.patch(program, slack_ns=1, wait=wait).out == program.with_name("program.netpoll+slack1+spin60000")


Give = Callable[[Path], Any]


@pytest.mark.parametrize("give", [Path.read_bytes, lambda path: path.open("rb")], ids=["bytes", "open file"])
@pytest.mark.parametrize("way", ["forked", "spawned"])
def test_a_content_is_patched_as_a_file_is(
    program: Path, give: Give, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "_alone", lambda: way == "forked")
    written = patcher.patch(program, slack_ns=1)
    source = give(program)
    if isinstance(source, io.IOBase):
        source.seek(100)  # where it stands does not matter
    made = patcher.patch_bytes(source, slack_ns=1)
    assert made.content == written.out.read_bytes()
    assert made.manifest == written.manifest
    assert patcher.inspect(source).to_json() == {
        **patcher.inspect(program).to_json(),
        "path": "the program" if isinstance(source, bytes) else str(program),
    }
    if not isinstance(source, bytes):
        source.close()


def test_errors_name_a_content_as_its_giver_does(tmp_path: Path) -> None:
    with pytest.raises(patcher.NotElf, match=r"^layer 3: not an ELF file"):
        patcher.patch_bytes(b"#!/bin/sh\n", name="layer 3")
    with pytest.raises(patcher.NotElf, match=r"^the program: not an ELF file"):
        patcher.inspect(b"")
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with (tmp_path / "script").open("rb") as source, pytest.raises(patcher.NotElf) as refused:
        patcher.inspect(source)
    assert str(refused.value).startswith(f"{tmp_path}/script: ")


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "a slack of none": ({"slack_ns": 0}, ("slack_ns",)),
    "an unknown strategy": ({"strategy": "magic"}, ("strategy",)),
    "strategy slack without one": ({"strategy": "slack"}, ("slack_ns",)),
    "a cost that is not accepted": ({"strategy": "sleep"}, ("accept_thread_cost",)),
    "a short spin": ({"wait": patcher.Wait(spin_ns=1)}, ("spin_ns",)),
    "a wait that is another's": ({"strategy": "usleep", "wait": patcher.Wait(quantum_ns=1)}, ("quantum_ns",)),
    "the input as output": ({"out": "program"}, ("out",)),
    "a file that is there": ({"out": "there"}, ("out", "force")),
    "a folder that is not": ({"out": "none/out"}, ("out",)),
}


@pytest.mark.parametrize(("asked", "parameters"), REFUSED.values(), ids=REFUSED)
def test_errors_are_in_the_words_of_python(program: Path, asked: dict[str, Any], parameters: tuple[str, ...]) -> None:
    """No option of the command is named; the arguments that are meant are."""
    program.with_name("there").touch()
    options = {"out": "out", "strategy": "netpoll", "wait": PRECISE, **asked}
    out = program.with_name(options.pop("out")) if "/" not in options["out"] else program.parent / options.pop("out")
    with pytest.raises(NanonapError) as refused:
        patcher.patch(program, out, **options)
    assert "--" not in str(refused.value)
    assert refused.value.parameters == parameters


def test_no_message_of_the_library_names_an_option_of_the_command() -> None:
    """A word that is nothing but an option is another program's."""
    named = [
        f"{path.relative_to(PROJECT)}:{node.lineno}: {node.value}"
        for path in (PROJECT / "patcher").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"(?<!`)--[a-z]+", node.value)
        if not re.fullmatch(r"--[a-z-]+(=\w*)?", node.value)
    ]
    assert named == []
