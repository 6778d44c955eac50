"""In a process of its own, in a guest or here: ``python -m nanonap.lab.quota.called MODULE:FUNCTION ARGUMENTS``.

ARGUMENTS is a JSON object of its keyword arguments; what it returns goes to stdout as JSON. A refusal's backend, reason
and remedy are the last line of stderr, with its exit status.
"""

import importlib
import json
import sys

from nanonap.lab.ground.errors import QuotaUnavailable


def main(target: str, arguments: str) -> int:
    """Call it. What it raises, a refusal excepted, ends this process with a traceback, which the host shows."""
    module, _, name = target.partition(":")
    try:
        result = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    except QuotaUnavailable as refusal:
        print(json.dumps([refusal.backend, refusal.reason, refusal.remedy]), file=sys.stderr)
        return refusal.exit_code
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
