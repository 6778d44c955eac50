"""CPU profiles as `go tool pprof -raw` tells them: samples, each with its stack."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.endtoend.survivors import Survivor
from toolchain.go import wheel_toolchain

#: The last release that ships pprof ready to run; later ones compile it first, which takes a minute. The format is
#: the same in all (https://github.com/google/pprof/blob/main/proto/profile.proto).
PPROF_GO = "1.24.11"

# "          3    3000000: 12 7 2 " and "     7: 0x448698 M=1 runtime.netpoll runtime/netpoll_epoll.go:131:0 s=97", the
# latter followed by a line for each function that the first is inlined in.
_SAMPLE = re.compile(r"\s+(\d+)\s+\d+: ([\d ]+)")
_LOCATION = re.compile(r"\s+(\d+): (0x[0-9a-f]+) M=\d+ (\S+)")


@dataclass(frozen=True)
class Sample:
    """``count`` samples of one stack: the leaf's PC and the functions, the leaf first, those inlined left out."""

    count: int
    pc: int
    functions: tuple[str, ...]


def profile_of(survivor: Survivor, folder: Path, length: str, **environment: str) -> list[Sample]:
    """A profile, written to ``folder``, of 200 sleepers while the collector runs without pause."""
    path = folder / "cpu.pprof"
    survivor.figures("-mode", "profile", "-for", length, "-sleepers", "200", "-profile", path, **environment)
    return read_profile(path)


def read_profile(path: Path) -> list[Sample]:
    """Read what runtime/pprof wrote."""
    toolchain = wheel_toolchain(PPROF_GO)
    command = [str(toolchain.go), "tool", "pprof", "-raw", str(path)]
    raw = subprocess.run(command, capture_output=True, text=True, check=True, env=toolchain.environment()).stdout
    head, _, tail = raw.partition("\nLocations\n")
    places = _read_locations(tail.partition("\nMappings\n")[0])
    found = []
    for match in map(_SAMPLE.fullmatch, head.splitlines()):
        if match is not None:
            stack = [places[int(each)] for each in match[2].split()]
            found.append(Sample(int(match[1]), stack[0][0], tuple(function for _, function in stack)))
    return found


def _read_locations(text: str) -> dict[int, tuple[int, str]]:
    """Location → (PC, function); the last line of a location names the function that is really called."""
    places: dict[int, tuple[int, str]] = {}
    current = 0
    for line in text.splitlines():
        match = _LOCATION.match(line)
        if match is not None:
            current = int(match[1])
            places[current] = int(match[2], 16), match[3]
        else:
            places[current] = places[current][0], line.split()[0]
    return places
