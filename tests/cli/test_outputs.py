"""No option of any task replaces what is not a regular file; files, streams and links are written as what they are."""

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanonap.base.errors import OutputNotWritable
from nanonap.base.files import beside, beside_all, write_text
from nanonap.cli.executor import OUTPUTS
from tests.cli.options import Option, text_options
from tests.patcher.conftest import Invoke
from tests.patcher.test_bad_input import assert_refused
from tests.soon import soon

PNG = b"\x89PNG\r\n\x1a\n"
#: Each option that names what is written, and the rest of a command that comes to writing it.
WRITING = {
    Option("bench", "out"): ("--quick",),
    Option("ab", "out"): ("--binary", "{program}", "--run", "{{binary}}", "--load", "true"),
    Option("predict", "plot"): ("--quota", "50%"),
    Option("report", "out"): ("{program}",),
    Option("fleet-bench", "out"): ("--scheduler", "tcp://127.0.0.1:1"),
    Option("bundle", "out"): (".",),
    Option("experiment", "out"): ("stretch", "--quick"),
    Option("claims", "out"): ("--redraw",),
    Option("patch", "out"): ("--binary", "{program}", "--force"),
    Option("revert", "out"): ("{patched}", "--force"),
    Option("matrix", "markdown"): ("--go", "0.0"),
    Option("corpus", "markdown"): ("--only", "nosuch"),
    Option("cycles", "markdown"): ("--go", "0.0"),
    Option("fuzz", "markdown"): ("--arch", "none"),
}
#: Those that write streams: a device takes what they have to say. The campaigns end at their wrong options.
STREAMS = {"plot": 0, "markdown": 2}
NAMES_NO_OUTPUT = {
    "ab": "metric binary run pid load ready per runs arms strategy slack_ns quantum dense spin guard within limit seed "
    "folder",
    "advise": "pid for_",
    "bench": "arms requested quota load gomaxprocs conditions backend cpu_weight memory_max seed go",
    "fleet-bench": "scheduler hosts nanonap_there only keys away arms requested quota load gomaxprocs conditions "
    "backend cpu_weight memory_max seed go",
    "fleet-report": "folder",
    "fleet-hosts": "scheduler keys",
    "fleet-keys": "folder",
    "fleet-scheduler": "host port keys",
    "fleet-worker": "scheduler name host port keys room contact",
    "predict": "quota threads cpus gomaxprocs sleep wake_cpu sleepers",
    "report": "folder format",
    "bundle": "folder",
    "compare": "first second",
    "experiment": "name backend folder",
    "claims": "only fleet keys",
    "build": "arch go mode go_binary",
    "patch": "binary image path platform strategy quantum dense spin slack_ns",
    "inspect": "path image platform",
    "verify": "path image platform",
    "revert": "path image platform",
    "matrix": "arch go mode fleet keys",
    "corpus": "only strategy go arch fleet keys",
    "cycles": "go mode count kills seed arch",
    "inject": "pid match container slack_ns quantum dense spin for_",
    "eject": "pid match container",
    "status": "pid match container",
    "bench-patcher": "binary rounds",
    "fuzz": "mutants seed minutes only arch fleet keys",
    "test": "only",
}


def command(option: Option, where: Path, program: Path, patched: Path) -> list[str]:
    words = (each.format(program=program, patched=patched) for each in WRITING[option])
    return [option.task, *words, f"--{option.name}", str(where)]


@pytest.fixture(scope="session")
def patched(invoke: Invoke, sleepbench: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("patched") / "out"
    assert invoke("patch", "--binary", sleepbench, "--out", out).status == 0
    return out


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A null device of the test's own; a pipe that is read where none can be made or used."""
    node = tmp_path / "device"
    try:
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        node.write_bytes(b"")
    except PermissionError:
        node.unlink(missing_ok=True)
        os.mkfifo(node)
        with subprocess.Popen(
            ["sh", "-c", 'while :; do cat "$0" || exit; done', node], stdout=subprocess.DEVNULL
        ) as reader:
            yield node
            reader.kill()
    else:
        yield node


def test_every_option_is_known_to_name_an_output_or_not_to() -> None:
    others = {Option(task, name) for task, names in NAMES_NO_OUTPUT.items() for name in names.split()}
    assert set(text_options()) == WRITING.keys() | others
    assert {each.name for each in WRITING} == set(OUTPUTS)
    assert not {each.name for each in others} & set(OUTPUTS)


@pytest.mark.parametrize("option", soon(tuple(WRITING), *range(0, len(WRITING), 4)), ids=" ".join)
def test_what_is_not_a_file_is_refused_and_stays(
    invoke: Invoke, sleepbench: Path, patched: Path, tmp_path: Path, option: Option
) -> None:
    where = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(where))
    before = where.lstat()
    answer = invoke(*command(option, where, sleepbench, patched))
    assert_refused(answer, 21 if option.task in ("bundle", "report") else 22, str(where))
    assert (where.lstat().st_ino, where.lstat().st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.parametrize("option", soon(tuple(WRITING), *range(2, len(WRITING), 4)), ids=" ".join)
def test_a_device_is_written_to_or_refused_and_stays(
    invoke: Invoke, sleepbench: Path, patched: Path, device: Path, option: Option
) -> None:
    before = device.lstat()
    answer = invoke(*command(option, device, sleepbench, patched))
    assert answer.status in ({0, 2, 30} if option.name in STREAMS else {21, 22})
    after = device.lstat()
    assert (after.st_ino, after.st_mode, after.st_rdev) == (before.st_ino, before.st_mode, before.st_rdev)


@pytest.mark.parametrize("option", WRITING, ids=" ".join)
def test_stdout_is_no_output(invoke: Invoke, sleepbench: Path, patched: Path, option: Option) -> None:
    answer = invoke(*command(option, Path("-"), sleepbench, patched))
    assert_refused(answer, 2, f"--{option.name} -: stdout is for the answer")


def test_a_pipe_gets_the_picture(invoke: Invoke, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        answer = invoke("predict", "--quota", "50%", "--plot", pipe)
        if answer.status or not pipe.is_fifo():
            reader.kill()
        drawn, _ = reader.communicate()
    assert answer.status == 0
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert drawn.startswith(PNG)


def test_a_link_stays_and_what_it_names_is_written(invoke: Invoke, tmp_path: Path) -> None:
    named, link = tmp_path / "named.png", tmp_path / "link.png"
    link.symlink_to(named.name)
    for _ in range(2):  # not there yet; there
        assert invoke("predict", "--quota", "50%", "--plot", link).status == 0
        assert named.read_bytes().startswith(PNG)
    assert link.is_symlink()


def test_a_device_that_is_full_is_told(tmp_path: Path, invoke: Invoke) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    assert_refused(invoke("predict", "--quota", "50%", "--plot", link), 24, str(link))
    assert link.is_symlink()


def test_files_that_belong_together_are_no_streams(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputNotWritable, match="not a regular file"), beside_all(tmp_path / "other", pipe):
        pass
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("kind", ["folder", "loop", "block device"])
def test_other_things_are_refused(tmp_path: Path, kind: str) -> None:
    where = tmp_path / "where"
    if kind == "folder":
        where.mkdir()
    elif kind == "loop":
        where.symlink_to("where")
    else:
        try:
            os.mknod(where, stat.S_IFBLK | 0o600, os.makedev(7, 250))
        except PermissionError:
            pytest.skip("needs root and CAP_MKNOD to make a device: run the tests as root")
    with pytest.raises(OutputNotWritable, match=str(where)):
        write_text(where, "text")
    assert os.path.lexists(where)
    assert list(tmp_path.iterdir()) == [where]


def test_nothing_is_sent_to_a_stream_where_the_work_fails(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(RuntimeError), beside(pipe) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reader, 10) == b""
    os.close(reader)


def test_a_name_that_is_long_in_bytes_alone_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("\N{SNAIL}" * 61)  # 244 bytes of at most 255
    write_text(target, "whole")
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]
