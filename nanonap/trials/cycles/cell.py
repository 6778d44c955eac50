"""One release and mode, on this machine. A process of its own, with one thread."""

import json
import random
import sys

from nanonap.trials.cycles.part import STRAINS, run_part
from nanonap.trials.cycles.programs import program


def main() -> None:
    """Arguments: release, mode, cycles, kills, seed. One JSON line on stdout."""
    go, mode, cycles, kills, seed = sys.argv[1:]
    path = program(go, mode)
    dice = random.Random(int(seed))  # noqa: S311 - moments, not secrets
    parts = [run_part(path, each, int(cycles) // 2, int(kills) // 2, dice) for each in STRAINS]
    print(json.dumps({"go": go, "mode": mode, "seed": int(seed), "parts": parts}))


if __name__ == "__main__":
    main()
