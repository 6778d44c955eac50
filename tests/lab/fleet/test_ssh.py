"""Hosts that are reached by SSH alone: two on addresses of the loopback."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncssh
import pytest

from nanonap.base.paths import PROJECT
from nanonap.lab.fleet.ssh import Remote, remotes
from tests.lab.made import ENVIRONMENT, Roots
from tests.patience import PATIENCE_S, wait_until

_HOSTS = ("127.0.0.2", "127.0.0.3")


def test_hosts_are_named_as_for_ssh() -> None:
    assert remotes("a, me@b:2222,[::1]:22") == [
        Remote(None, "a", None), Remote("me", "b", 2222), Remote(None, "[::1]", 22)
    ]  # fmt: skip
    assert [each.name for each in remotes("me@b.example:2222,[::1]")] == ["b.example", "..1"]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[str]:
    """Their names for --hosts, whose nanonap is this one with a room for each; a home where they are known."""
    (ssh := tmp_path / "home" / ".ssh").mkdir(parents=True)
    client, host = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    client.write_private_key(str(ssh / "id_ed25519"))
    client.write_public_key(str(tmp_path / "client.pub"))
    host.write_private_key(str(tmp_path / "host"))
    known = host.export_public_key().decode()
    with ExitStack() as stack:
        named, lines = [], []
        for address in _HOSTS:
            words = [sys.executable, str(Path(__file__).with_name("ssh_server.py")), str(tmp_path), address]
            server = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT))
            stack.callback(server.kill)
            assert server.stdout is not None
            port = int(server.stdout.readline())
            named.append(f"root@{address}:{port}")
            lines.append(f"[{address}]:{port} {known}")
        (ssh / "known_hosts").write_text("".join(lines))
        yield ",".join(named)


def _client(hosts: str, roots: Roots, folder: Path) -> "subprocess.Popen[str]":
    code = f'cd {PROJECT}; exec {sys.executable} -c "from nanonap.cli.program import main; main()" "$@" --room'
    (command := folder / "nanonap").write_text(f"#!/bin/sh\n{code} {folder}/room-$$\n")
    command.chmod(0o755)
    where = {"out": str(folder / "out"), "build_root": str(roots.build), "patched_root": str(roots.patched)}
    text = json.dumps({"hosts_by_ssh": hosts, "there": str(command), **where})
    words = [sys.executable, str(Path(__file__).with_name("drive.py")), text]
    environment = {**ENVIRONMENT, "HOME": str(folder / "home"), "USER": "root"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.long
def test_they_measure_through_the_connection(hosts: str, roots: Roots, tmp_path: Path) -> None:
    out, err = (client := _client(hosts, roots, tmp_path)).communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, err
    assert [*json.loads(out)["machines"]] == [*_HOSTS]
    assert "nothing is encrypted" not in err
    wait_until(lambda: _left(tmp_path) == [], lambda: _left(tmp_path))


@pytest.mark.long
def test_a_client_that_is_killed_leaves_nothing_there(hosts: str, roots: Roots, tmp_path: Path) -> None:
    client = _client(hosts, roots, tmp_path)
    parts = "room-*/jobs/*/result/parts/*.parquet"
    wait_until(
        lambda: client.poll() is not None or len({each.parts[-6] for each in tmp_path.glob(parts)}) == 2,
        lambda: [*tmp_path.glob("room-*/jobs/*/*")],
    )
    assert client.poll() is None, client.communicate()
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    wait_until(lambda: _left(tmp_path) == [], lambda: _left(tmp_path))


def _left(folder: Path) -> list[str]:
    """Jobs, and processes that know of the folder, servers apart."""
    found = [str(each) for each in folder.glob("room-*/jobs/*")]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{folder}/" in words and "ssh_server" not in words:
            found.append(words)
    return found
