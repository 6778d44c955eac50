"""Work that must be done where the groups are: in a process of its own, on this host or in a backend's guest.

A function that is called so takes ``backend``, a name, and more that JSON can hold, and its module needs the standard
library and the project's own that do with it: a guest has nothing else. If its process is killed, the watchdog of
``bench.quota`` removes what it had opened.
"""

import json
import sys
from typing import TYPE_CHECKING, Any

from bench.errors import QuotaUnavailable, RunFailed
from nanonap.paths import PROJECT

if TYPE_CHECKING:  # it needs polars
    from bench.experiments.base import Setting

_STDERR_TAIL = 600


def ask(setting: "Setting", target: str, timeout_s: float, **arguments: Any) -> Any:  # noqa: ANN401 - any JSON value
    """What ``MODULE:FUNCTION`` returns, called where the setting's groups are. Times in s.

    Raises QuotaUnavailable as the function does, RunFailed if it ends in another way, Interrupted.
    """
    backend = setting.backend
    if hasattr(backend, "call"):
        setting.stop.check()
        try:
            return backend.call(target, backend=getattr(backend, "inner", backend.name), **arguments)
        finally:
            setting.stop.check()
    words = json.dumps({"backend": backend.name, **arguments})
    argv = ["/usr/bin/env", f"PYTHONPATH={PROJECT}", sys.executable, "-m", "bench.guest.called", target, words]
    finished = setting.stop.run(argv, timeout_s)
    if finished.timed_out:
        raise RunFailed(f"{target} on {backend.name}: still running after {timeout_s:.0f} s, ended")
    if finished.status == QuotaUnavailable.exit_code:
        raise QuotaUnavailable(*json.loads(finished.stderr.strip().splitlines()[-1]))
    if finished.status != 0:
        said = " ".join(finished.stderr.split())[-_STDERR_TAIL:]
        raise RunFailed(f"{target} on {backend.name}: exit status {finished.status}; its stderr: {said}")
    return json.loads(finished.stdout)
