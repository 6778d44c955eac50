"""A recorded run as a command, for where only commands can be run.

``python -m nanonap.lab.attribution.carry … -- COMMAND``.

Standard output is a JSON line, ``{"method", "reason", "remedy", "status", "output", "record"}`` (the last two: sizes in
bytes), then the command's standard output, then the record's text, packed by zlib. Standard library only.
"""

import argparse
import json
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from nanonap.lab.attribution.errors import RecordingFailed, TracingUnavailable
from nanonap.lab.attribution.recorder import MODES
from nanonap.lab.attribution.recording import RECORDER, Recording


@dataclass(frozen=True)
class Carried:
    """What came out: of the command its exit status and output; of the recording its method, text and refusal."""

    status: int
    output: bytes
    method: str
    text: str
    refusal: TracingUnavailable | None


def options(program: str, stat: str | None, mode: str, recorder: str = RECORDER) -> list[str]:
    """The arguments, up to the command. They are Recording's."""
    stat_option = ["--stat", stat] if stat is not None else []
    more = [*stat_option, "--recorder", recorder]
    return ["-m", "nanonap.lab.attribution.carry", "--program", program, "--mode", mode, *more, "--"]


def unpack(data: bytes) -> Carried:
    """Read what ``main`` wrote. Raises RecordingFailed."""
    line, _, rest = data.partition(b"\n")
    try:
        about = json.loads(line)
        refusal = TracingUnavailable(about["reason"], about["remedy"]) if about["reason"] else None
        output, packed = rest[: about["output"]], rest[about["output"] :]
        if len(packed) != about["record"]:
            raise ValueError(f"{len(packed)} bytes of a record of {about['record']}")
        text = zlib.decompress(packed).decode(errors="replace")
        return Carried(about["status"], output, about["method"], text, refusal)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise RecordingFailed(f"a recorded run came back broken ({error}); run it again") from error


def main() -> int:
    """Run the command beside a recording."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--stat", type=Path)
    parser.add_argument("--mode", choices=MODES, default="auto")
    parser.add_argument("--recorder", default=RECORDER)
    parser.add_argument("command", nargs="+")
    chosen = parser.parse_args()
    with Recording(chosen.program, chosen.stat, chosen.mode, chosen.recorder) as recording:
        done = subprocess.run(chosen.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
        record = zlib.compress(recording.stop().encode(), 1)
        refusal = recording.refusal
        about = {
            "method": recording.method,
            "reason": refusal and refusal.reason,
            "remedy": refusal and refusal.remedy,
            "status": done.returncode,
            "output": len(done.stdout),
            "record": len(record),
        }
    sys.stdout.buffer.write(json.dumps(about).encode() + b"\n" + done.stdout + record)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
