"""What `advise` costs a server that waits 10,000 times a second: the figures of docs/advise.md, section "How it knows".

python docs/advise/watched.py            # as root: 8 watches of 5 s, in turns with as many without; tells of each
python docs/advise/watched.py kept       # nothing is run: the summary of docs/advise/watched.json
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from nanonap.base.dice import seeded
from nanonap.base.processes import cpu_time_ns
from nanonap.lab.advise.advice import Advice
from nanonap.lab.advise.asking import ask
from nanonap.toolchain.build import build
from nanonap.toolchain.releases import NEWEST

BLOCKS, WATCH_S, PORT = 8, 5.0, 7411
_EACH_S = 100e-6
KEPT = Path(__file__).with_suffix(".json")


@contextmanager
def served() -> Iterator[int]:
    """The process of an echo that is asked every 100 µs."""
    path = build(NEWEST, "default", programs=("answerer",))[0].path
    with subprocess.Popen([path, f"localhost:{PORT}", "0s"]) as server:
        time.sleep(1)
        with subprocess.Popen([sys.executable, __file__, "asks"]) as client:
            try:
                time.sleep(1)
                yield server.pid
            finally:
                client.kill()
                server.kill()


def asks() -> None:
    """The other end, for ever."""
    with socket.create_connection(("localhost", PORT)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        due = time.monotonic()
        while True:
            link.sendall(b"x\n")
            link.recv(64)
            due = max(due + _EACH_S, time.monotonic() - 100 * _EACH_S)
            while time.monotonic() < due:
                pass


def measured(pid: int) -> Iterator[dict[str, float]]:
    """A block: CPU time in parts of a core alone and watched, what the answer said of watching, waits a second."""
    for block in range(BLOCKS):
        found: dict[str, float] = {}
        for arm in seeded(block).sample(("alone", "watched"), 2):
            cpu_ns, began_ns = cpu_time_ns(pid), time.monotonic_ns()
            if arm == "watched":
                told = ask(pid, WATCH_S, lambda _: None)
                if not isinstance(told, Advice):
                    raise SystemExit(f"advise: {told.reason}")
                found |= {"told": told.cost, "waits_per_s": told.waits_per_s}
            else:
                time.sleep(WATCH_S)
            found[arm] = (cpu_time_ns(pid) - cpu_ns) / (time.monotonic_ns() - began_ns)
        print(found, flush=True)
        yield found


def summary(blocks: list[dict[str, float]]) -> str:
    """In words."""
    more = sorted(each["watched"] - each["alone"] for each in blocks)
    told, waits, alone = ([each[name] for each in blocks] for name in ("told", "waits_per_s", "alone"))
    return (
        f"{median(waits):,.0f} waits a second; told {min(told):.1%} to {max(told):.1%} of a core; "
        f"the server took {median(alone):.2f} of a core alone, watched "
        f"{median(more):+.3f} at the median, {more[0]:+.3f} to {more[-1]:+.3f}"
    )


def main() -> None:
    """Measure, or tell what was kept."""
    if sys.argv[1:] == ["asks"]:
        asks()
    elif sys.argv[1:] == ["kept"]:
        print(summary(json.loads(KEPT.read_text(encoding="utf-8"))["blocks"]))
    else:
        with served() as pid:
            print(summary(list(measured(pid))))


if __name__ == "__main__":
    main()
