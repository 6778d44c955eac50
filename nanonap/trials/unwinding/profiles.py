"""CPU profiles as `go tool pprof -raw` tells them: samples, each with its stack."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from nanonap.toolchain.go import wheel_toolchain
from nanonap.trials.unwinding.places import CodeMap
from nanonap.trials.unwinding.survivors import Survivor, Unsound

#: The last release that ships pprof ready to run; later ones compile it first, which takes a minute. The format is
#: the same in all (https://github.com/google/pprof/blob/main/proto/profile.proto).
PPROF_GO = "1.24.11"

# "          3    3000000: 12 7 2 " and "     7: 0x448698 M=1 runtime.netpoll runtime/netpoll_epoll.go:131:0 s=97", the
# latter followed by a line for each function that the first is inlined in. A place in no mapping or function lacks
# what would name it (github.com/google/pprof/profile, Location.string).
_SAMPLE = re.compile(r"\s+(\d+)\s+\d+: ([\d ]+)")
_LOCATION = re.compile(r"\s+(\d+): (0x[0-9a-f]+) (?:M=\d+ )?(?:\[F\] )?(\S*)")
# "1: 0x400000/0x5a2000/0x0 /path/of/program  [FN]": start, end and file offset.
_MAPPING = re.compile(r"\d+: 0x([0-9a-f]+)/0x[0-9a-f]+/0x([0-9a-f]+) (\S+).*")


@dataclass(frozen=True)
class Sample:
    """``count`` samples of one stack: the leaf's PC as linked, and the functions, the leaf first, without those that
    were inlined."""

    count: int
    pc: int
    functions: tuple[str, ...]


def profile_of(survivor: Survivor, folder: Path, length: str, **environment: str) -> list[Sample]:
    """A profile, written to ``folder``, of 200 sleepers while the collector runs without pause."""
    path = folder / "cpu.pprof"
    survivor.figures("-mode", "profile", "-for", length, "-sleepers", "200", "-profile", path, **environment)
    return read_profile(path, survivor.path)


def read_profile(path: Path, program: Path) -> list[Sample]:
    """Read what runtime/pprof wrote of a run of ``program``. Raises Unsound if pprof cannot."""
    toolchain = wheel_toolchain(PPROF_GO)
    command = [str(toolchain.go), "tool", "pprof", "-raw", str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=toolchain.environment())
    if answer.returncode != 0:
        raise Unsound(f"pprof cannot read the profile: {answer.stderr}")
    head, _, tail = answer.stdout.partition("\nLocations\n")
    locations, _, mappings = tail.partition("\nMappings\n")
    places = _read_locations(locations)
    code = _read_mapping(mappings, program)
    found = []
    for match in map(_SAMPLE.fullmatch, head.splitlines()):
        if match is not None:
            stack = [places[int(each)] for each in match[2].split()]
            functions = tuple(function for _, function in stack)
            found.append(Sample(int(match[1]), code.linked(stack[0][0]), functions))
    return found


def _read_mapping(text: str, program: Path) -> CodeMap:
    """runtime/pprof lists what is mapped executable (runtime/pprof/proto.go, parseProcSelfMaps)."""
    for match in map(_MAPPING.fullmatch, text.splitlines()):
        if match is not None and match[3] == str(program.resolve()):
            return CodeMap(program, int(match[1], 16), int(match[2], 16))
    raise Unsound(f"the profile names no mapping of {program}")


def _read_locations(text: str) -> dict[int, tuple[int, str]]:
    """Location → (PC, function, empty where there is none); the last line of a location names the function that is
    really called.
    """
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
