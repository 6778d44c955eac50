"""Runs a bench in a process of its own, as a task would: python drive.py '{"size": "quick", …}'."""

import json
import sys
from pathlib import Path
from typing import Any

from nanonap.base.errors import NanonapError
from nanonap.lab.main import run_bench


def main() -> int:
    options: dict[str, Any] = json.loads(sys.argv[1])
    for name in {"build_root", "patched_root", "results", "out"} & options.keys():
        options[name] = Path(options[name])
    try:
        run_bench(**options)
    except NanonapError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
