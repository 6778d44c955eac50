"""A fleet's bench in a process of its own, as the task would: python drive.py '{"address": "tcp://…", …}'."""

import json
import sys
from contextlib import nullcontext
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
    from nanonap.lab.fleet.ssh import fleet_over_ssh, remotes

    asked = json.loads(sys.argv[1])
    keys, hosts, there = (asked.pop(each, None) for each in ("keys", "hosts_by_ssh", "there"))
    paths: dict[str, Any] = {name: Path(asked.pop(name)) for name in ("out", "build_root", "patched_root")}
    options = {**OPTIONS, **asked.pop("options", {})}
    try:
        with (
            raised(),
            fleet_over_ssh(remotes(hosts), there)
            if hosts
            else nullcontext(Fleet(asked.pop("address"), Path(keys) if keys else None)) as fleet,
        ):
            report, folder = run_fleet_bench(fleet, options, **paths, **asked)
            print(json.dumps(as_json(report, folder)))
            check_missing(report)
    except NanonapError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
