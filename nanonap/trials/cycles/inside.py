"""What runs in a machine for another processor: a cell's processes, changed by scripts that come with them."""

import json
import os
import platform
import random
import sys
from pathlib import Path

from nanonap.trials.cycles.part import SLOW_STRAINS, run_part
from nanonap.trials.cycles.plans import Plans
from patcher.answers import decode


def main() -> None:
    """Arguments: a file of plans, the program, cycles, kills, seed. One JSON line on stdout."""
    file, path, cycles, kills, seed = sys.argv[1:]
    plans = decode(Plans, json.loads(Path(file).read_bytes()))
    dice = random.Random(int(seed))  # noqa: S311 - moments, not secrets
    share = [int(each) // len(SLOW_STRAINS) for each in (cycles, kills)]
    parts = [run_part(Path(path), each, share[0], share[1], dice, plans) for each in SLOW_STRAINS]
    print(json.dumps({"on": f"Linux {platform.release()}, {os.cpu_count()} CPU, emulated", "parts": parts}))


if __name__ == "__main__":
    main()
