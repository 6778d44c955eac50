"""The process that keeps a job: it runs it in a group of its own, and leaves the result where it is looked for.

``python -m nanonap.lab.fleet.keeper FOLDER`` keeps; with ``--run`` before the folder it is the job itself. SIGTERM
ends both and all they started; so does the end of the lease, which whoever follows the job renews.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanonap.lab.fleet.jobs import BUNDLE, Job

if TYPE_CHECKING:
    from nanonap.lab.quota.base import Backend, Group

_LONGEST_S = 86_400.0
_LOOK_S = 5.0
_CLEANED_S = 0.5
_TAIL = 2_000


def keep(folder: Path) -> None:
    """Run the job to its end and write its status; when asked to stop, end it and write none."""
    job = Job(folder.parent.parent, folder.name)
    job.keep()
    # What follows takes a while to import, and the job is to be known before.
    from nanonap.base.errors import Interrupted, NanonapError  # noqa: PLC0415
    from nanonap.base.files import write_text  # noqa: PLC0415
    from nanonap.lab.ground.interrupt import Stop  # noqa: PLC0415
    from nanonap.lab.quota.choose import choose  # noqa: PLC0415
    from nanonap.lab.quota.limits import Limits  # noqa: PLC0415

    asked = json.loads(job.asked.read_text(encoding="utf-8"))
    words = [sys.executable, "-m", "nanonap.lab.fleet.keeper", "--run", str(folder)]
    stop = Stop()
    with stop.listening():
        threading.Thread(target=_watch, args=(job.lease, asked["lease_s"]), daemon=True).start()
        backend = choose().backend
        try:
            with backend.open(Limits()) as group:
                try:
                    ended = stop.run(group.command(words), _LONGEST_S)
                except Interrupted:
                    _cleaned(group)
                    raise
            status, said = ended.status, ended.stderr
        except Interrupted:
            _remove_stale(backend)
            job.clear()
            return
        except NanonapError as error:
            status, said = error.exit_code, str(error)
        finally:
            backend.close()
        write_text(job.status, json.dumps({"status": status, "error": said[-_TAIL:]}))


def _cleaned(group: "Group") -> None:
    """Let the job's watchdog, which lives on in the group, remove what the job cannot any more."""
    from nanonap.lab.ground.groups import processes_in  # noqa: PLC0415 - as above
    from nanonap.lab.quota.cgroup import CgroupGroup  # noqa: PLC0415

    until = time.monotonic() + _CLEANED_S
    while isinstance(group, CgroupGroup) and time.monotonic() < until and processes_in(group.folder):
        time.sleep(0.01)


def _remove_stale(backend: "Backend") -> None:
    """Groups that the job had beside its own, should its watchdog have been ended before it could see to them."""
    from nanonap.lab.quota.cgroup import CgroupBackend  # noqa: PLC0415 - as above

    if isinstance(backend, CgroupBackend):
        backend.remove_stale()


def _watch(lease: Path, lease_s: float) -> None:
    """End this process as SIGTERM does when the lease has not been renewed for so long, or is gone."""
    while True:
        time.sleep(min(_LOOK_S, lease_s / 4))
        try:
            late_s = time.time() - lease.stat().st_mtime
        except OSError:
            late_s = lease_s + 1
        if late_s > lease_s:
            os.kill(os.getpid(), signal.SIGTERM)
            return


def run(folder: Path) -> int:
    """Do what the job is, in a process of its own; the exit status."""
    from nanonap.base.errors import NanonapError  # noqa: PLC0415 - as above
    from nanonap.base.interrupts import raised  # noqa: PLC0415

    asked = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    module, _, name = asked["function"].partition(":")
    try:
        with raised():
            getattr(importlib.import_module(module), name)(folder, **asked["options"])
    except NanonapError as error:
        print(str(error), file=sys.stderr)
        return error.exit_code
    return 0


def bench(folder: Path, **options: Any) -> None:  # noqa: ANN401 - those of run_bench
    """Measure with the programs of the job's folder, and bundle the result. Raises as ``run_bench``."""
    from nanonap.lab.main import run_bench  # noqa: PLC0415 - as above
    from nanonap.lab.publish.bundle import write_bundle  # noqa: PLC0415

    patched = folder / "patched"
    result = run_bench(
        **options,
        out=folder / "result",
        as_json=True,
        build_root=folder / "build",
        patched_root=patched,
        results=folder,
    )
    write_bundle(result, folder / BUNDLE, patched)


def main() -> None:
    """By the words of the command line."""
    if sys.argv[1] == "--run":
        raise SystemExit(run(Path(sys.argv[2])))
    keep(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
