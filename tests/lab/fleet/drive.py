"""A fleet's bench in a process of its own, as the task would: python drive.py '{"address": "tcp://…", …}'."""

import json
import sys
from pathlib import Path
from typing import Any

from nanonap.base.errors import NanonapError
from nanonap.base.interrupts import raised
from nanonap.lab.fleet.settings import settle

OPTIONS: dict[str, Any] = {
    "size": "quick", "arms": "stock,floor", "requested": "1ms", "quota": "50%", "load": "quiet", "gomaxprocs": None,
    "backend": "auto", "go": "1.27.3", "cpu_weight": None, "memory_max": None, "inside_limit": False, "named": None,
    "seed": 7,
}  # fmt: skip


def main() -> int:
    settle()
    from nanonap.lab.fleet.bench import as_json, check_missing, run_fleet_bench
    from nanonap.lab.fleet.client import Fleet

    asked = json.loads(sys.argv[1])
    keys = asked.pop("keys", None)
    fleet = Fleet(asked.pop("address"), None if keys is None else Path(keys))
    paths: dict[str, Any] = {name: Path(asked.pop(name)) for name in ("out", "build_root", "patched_root")}
    try:
        with raised():
            report, folder = run_fleet_bench(fleet, OPTIONS, **paths, **asked)
            print(json.dumps(as_json(report, folder)))
            check_missing(report)
    except NanonapError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
