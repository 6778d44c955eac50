"""Machines in network namespaces: each with an address and a cgroup of its own, on the bridge of a hub."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from nanonap.base.paths import PROJECT
from nanonap.lab.ground.groups import remove_group
from tests.lab.made import ENVIRONMENT, Roots
from tests.patience import PATIENCE_S, wait_until

HUB, PORT = "10.77.0.1", 8786
ADDRESS = f"tcp://{HUB}:{PORT}"
# A bridge that is given no address has the lowest of its ports': without that port, all others ask for it in vain.
_HUB_LINK = "02:00:00:00:00:01"
_NANONAP = [sys.executable, "-c", "from nanonap.cli.program import main; main()"]
_GROUPS = Path("/sys/fs/cgroup/cpu")
_LOOK_S = 0.1
_OWN = Path("/proc/self/ns/net")


class Space:
    """A network namespace, held by a process that only sleeps."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        own = _OWN.stat().st_ino
        wait_until(lambda: self._holder.poll() is not None or Path(f"/proc/{self.pid}/ns/net").stat().st_ino != own)
        if self._holder.poll() is not None:
            pytest.skip("needs root, to make network namespaces")

    @property
    def pid(self) -> int:
        return self._holder.pid

    def ip(self, words: str) -> None:
        subprocess.run(self.inside("ip", *words.split()), check=True)

    def inside(self, *words: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *words]

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


class Machine:
    """A host: its worker, its room on the disk, its group."""

    def __init__(self, hub: Space, name: str, number: int, room: Path) -> None:
        self.name, self.room, self._hub, self.space = name, room, hub, Space()
        self.address = f"10.77.0.{number}"
        hub.ip(f"link add v{name} type veth peer name eth0 netns {self.space.pid}")
        hub.ip(f"link set v{name} master br0 up")
        for words in ("link set lo up", f"addr add {self.address}/24 dev eth0", "link set eth0 up"):
            self.space.ip(words)
        self.group = _GROUPS / f"fleettest-{os.getpid()}-{name}"
        self.group.mkdir()
        self.worker: subprocess.Popen[str] | None = None

    def start(self, *options: str, code: Path = PROJECT) -> None:
        """Start the worker; it says its address when it has joined."""
        enter = ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.group)]
        words = ["--scheduler", ADDRESS, "--name", self.name, "--room", str(self.room), *options]
        self.worker = _serve([*enter, *self.space.inside(*_NANONAP, "fleet", "worker", *words)], code)

    def cut(self) -> None:
        self._hub.ip(f"link set v{self.name} nomaster")

    def mend(self) -> None:
        self._hub.ip(f"link set v{self.name} master br0")

    def kill(self) -> None:
        assert self.worker is not None
        self.worker.kill()
        self.worker.wait()

    def left(self) -> list[str]:
        """What a job has here now: its files, its groups, its processes."""
        files = [str(each) for each in (self.room / "jobs").glob("*")]
        groups = [each for each, _, _ in os.walk(self.group) if each != str(self.group)]
        own = [str(self.worker.pid)] if self.worker is not None else []
        inside = [each for each in (self.group / "cgroup.procs").read_text().split() if each not in own]
        return files + groups + inside

    def close(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()
        remove_group(self.group)
        self.space.close()


class Machines:
    """A hub with a scheduler and a client, and hosts around it; counts the keepers of jobs that are ever seen."""

    def __init__(self, folder: Path, names: str) -> None:
        self.folder, self.hub = folder, Space()
        bridge = f"link add br0 address {_HUB_LINK} type bridge"
        for words in ("link set lo up", bridge, f"addr add {HUB}/24 dev br0", "link set br0 up"):
            self.hub.ip(words)
        self.hosts = {
            name: Machine(self.hub, name, number, folder / f"room-{name}") for number, name in enumerate(names, 2)
        }
        self.scheduler: subprocess.Popen[str] | None = None
        self._keepers: set[tuple[str, str]] = set()
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def schedule(self, *options: str) -> None:
        """Start the scheduler."""
        self.scheduler = _serve(self.hub.inside(*_NANONAP, "fleet", "scheduler", "--host", HUB, *options), PROJECT)

    def start_anew(self, number: signal.Signals) -> None:
        """End the scheduler, and with it the workers, and start all of them."""
        assert self.scheduler is not None
        self.scheduler.send_signal(number)
        self.scheduler.wait()
        for each in self.hosts.values():
            assert each.worker is not None
            each.worker.wait(timeout=PATIENCE_S)
        self.schedule()
        for each in self.hosts.values():
            each.start()

    def bench(self, roots: Roots, out: str = "out", **more: Any) -> "subprocess.Popen[str]":
        """Start a client."""
        where = {"out": str(self.folder / out), "build_root": str(roots.build), "patched_root": str(roots.patched)}
        text = json.dumps({"address": ADDRESS, **where, **more})
        words = self.hub.inside(sys.executable, str(Path(__file__).with_name("drive.py")), text)
        return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def measuring(self) -> bool:
        """Whether on every host a run has been kept."""
        return all([*each.room.glob("jobs/*/result/parts/*.parquet")] for each in self.hosts.values())

    def wait_for(self, client: "subprocess.Popen[str]") -> None:
        """Until all measure."""
        wait_until(lambda: client.poll() is not None or self.measuring(), lambda: "no host measures")
        assert client.poll() is None, client.communicate()

    def keepers(self) -> dict[str, int]:
        """How many each host has had."""
        return {name: sum(each == name for each, _ in self._keepers) for name in self.hosts}

    def _look(self) -> None:
        while not self._over.wait(_LOOK_S):
            for name, each in self.hosts.items():
                for path in each.room.glob("jobs/*/keeper"):
                    with contextlib.suppress(OSError):
                        self._keepers.add((name, path.read_text()))

    def left(self) -> list[str]:
        return [each for host in self.hosts.values() for each in host.left()]

    def __enter__(self) -> "Machines":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        for host in self.hosts.values():
            host.close()
        if self.scheduler is not None:
            self.scheduler.kill()
            self.scheduler.wait()
        self.hub.close()


def _serve(words: list[str], code: Path) -> "subprocess.Popen[str]":
    """Start what serves, and wait for its address."""
    process = subprocess.Popen(
        words,
        cwd=code,
        env={**ENVIRONMENT, "PYTHONPATH": str(code)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(("tcp://", "tls://")), process.communicate(timeout=PATIENCE_S)
    return process
