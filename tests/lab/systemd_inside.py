#!/usr/bin/env python3
"""What the tests of the systemd backends do inside a guest: ``systemd_inside.py FUNCTION BACKEND``; JSON comes out.

Standard library and the project only: the guest has no more. The file is executable because a guest is sent those.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanonap.base.processes import identity
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.choose import make_backend, working
from nanonap.lab.quota.limits import Limits, Quota, parse_quota
from nanonap.lab.quota.manager import Manager, slice_name
from nanonap.lab.quota.systemd import SliceGroup, SystemdBackend, SystemdUserBackend

STUBBORN = "trap '' TERM INT HUP; sleep 1000 & echo; while :; do sleep 1; done"

OPEN_AND_RUN = """
import subprocess, sys
from nanonap.lab.quota.choose import make_backend
from nanonap.lab.quota.limits import Limits, parse_quota
backend = make_backend(sys.argv[1])
backend.prepare()
group = backend.open(Limits(parse_quota("50%")))
subprocess.run(group.command(["sh", "-c", "echo $$; exec sleep 1000"]))
"""


def prepared(name: str) -> SystemdBackend:
    backend = make_backend(name)
    assert isinstance(backend, SystemdBackend)
    backend.prepare()
    return backend


def opened(name: str, limits: Limits) -> SliceGroup:
    group = prepared(name).open(limits)
    assert isinstance(group, SliceGroup)
    return group


def works(name: str) -> str:
    try:
        return working(name).name
    except QuotaUnavailable as refusal:
        return str(refusal)


def reads_back(name: str) -> dict[str, str]:
    asked = [Limits(parse_quota("50%")), Limits(parse_quota("33%/7ms")), Limits(), Limits(weight=1)]
    asked.append(Limits(parse_quota("20%/10ms"), weight=200, memory_bytes=64 << 20))
    backend, told = prepared(name), {}
    for limits in asked:
        with backend.open(limits) as group:
            # What was not asked for is the kernel's default.
            same = Limits(limits.quota, limits.weight or group.effective.weight, limits.memory_bytes)
            told[str(same)] = str(group.effective)
    return told


def runs(name: str) -> dict[str, Any]:
    with opened(name, Limits(parse_quota("30%"))) as group:
        before = group.counters()
        subprocess.run(group.command(["timeout", "0.5", "sh", "-c", "while :; do :; done"]), check=False)
        after = group.counters()
        script = "cat /proc/self/cgroup >&2; printf 'a\\r\\n\\000'; printf '%s|' \"$@\"; exit 77"
        argv = group.command(["sh", "-c", script, "sh", "a b", "$HOME", "%n", "", "-x"])
        done = subprocess.run(argv, capture_output=True, check=False)
        killed = subprocess.run(group.command(["sh", "-c", "kill -SEGV $$"]), check=False).returncode
    assert before is not None
    assert after is not None
    inside = f"/{group.slice}/" in done.stderr.decode()
    out = done.stdout.decode("latin-1")
    return {"used": vars(after.since(before)), "out": out, "inside": inside, "status": [done.returncode, killed]}


def changes(name: str) -> dict[str, Any]:
    told = []
    with opened(name, Limits(parse_quota("50%"), weight=300)) as group:
        burner = subprocess.Popen(group.command(["sh", "-c", "while :; do :; done"]))
        for text in ("10%/20ms", "none", "70%"):
            group.set_quota(parse_quota(text))
            told.append(str(group.effective))
        refusal = refused(lambda: group.set_quota(parse_quota("50%+burst=1ms")))
    burner.wait()
    return {"told": told, "refusal": refusal, "left": left(name)}


def refuses(name: str) -> dict[str, Any]:
    backend = prepared(name)
    burst = Limits(parse_quota("50%+burst=1ms"))
    too_much = Limits(Quota(quota_ns=10**17, period_ns=100_000_000))
    said = [refused(lambda: backend.open(burst)), refused(lambda: backend.open(too_much))]
    return {"said": said, "left": left(name)}


def ends(name: str) -> dict[str, Any]:
    group = opened(name, Limits(parse_quota("50%")))
    with group, subprocess.Popen(group.command(["sh", "-c", STUBBORN]), stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        group.close()
        status = stubborn.wait()
    return {"status": status, "left": left(name), "after": refused(group.counters)}


def stale(name: str) -> dict[str, list[str]]:
    dead = subprocess.Popen(["sleep", "100"])
    owners = {"dead": identity(dead.pid), "alive": identity(), "nobody": "mine"}
    dead.kill()
    dead.wait()
    slices = {slice_name(f"nanonap-{owner}-99"): what for what, owner in owners.items()}
    manager = Manager(name, SystemdUserBackend.scope if name == "systemd-user" else SystemdBackend.scope)
    try:
        for each in slices:
            manager.call("making one", "StartTransientUnit", "ssa(sv)a(sa(sv))", each, "fail", "0", "0")
            manager.must("starting it", *manager.systemctl("start", each))
        before = left(name)
        prepared(name)
        after = left(name)
        return {"before": [slices[each] for each in before], "after": [slices[each] for each in after]}
    finally:
        for each in slices:
            manager.must("stopping one", *manager.systemctl("stop", each))


def killed(name: str) -> dict[str, Any]:
    with subprocess.Popen([sys.executable, "-c", OPEN_AND_RUN, name], stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdout is not None
        pid = int(bench.stdout.readline())
        before = left(name)
        bench.kill()
        bench.wait()
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and (left(name) or Path(f"/proc/{pid}").exists()):
            time.sleep(0.1)
    told: dict[str, Any] = {"before": len(before), "left": left(name), "lives": Path(f"/proc/{pid}").exists()}
    for each in told["left"]:  # or this one's output would stay open
        subprocess.run(["systemctl", "--user" if name == "systemd-user" else "--system", "stop", each], check=True)
    return told


IN_SCOPE = """
import json, os, signal, subprocess, sys
from pathlib import Path
from nanonap.lab.quota.cgroup2 import Cgroup2Backend, own_path
from nanonap.lab.quota.limits import Limits, parse_quota

def own(pid="self"):
    return Path("/sys/fs/cgroup" + own_path(Path(f"/proc/{pid}/cgroup").read_text()))

# Where this fails, it lives on, and must not keep the answer from its end.
nowhere = subprocess.DEVNULL
other = subprocess.Popen(["sleep", "1000"], stdin=nowhere, stdout=nowhere, stderr=nowhere)
before = own()
backend = Cgroup2Backend()
backend.prepare()
told = {"marked": "user.delegate" in os.listxattr(before)}
told |= {"parent": backend.parent == before, "moved": own() != before and own() == own(other.pid)}
with backend.open(Limits(parse_quota("30%"))) as group:
    told["type"] = group.read("cgroup.type")
    busy = ["timeout", "0.5", "sh", "-c", "while :; do :; done"]
    told["status"] = subprocess.run(group.command(busy)).returncode
    told["throttled"] = group.counters().nr_throttled > 0
    if "die" in sys.argv:
        print(json.dumps([str(before), other.pid, told]), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
backend.close()
told["back"] = own() == before == own(other.pid)
told["left"] = [str(each) for each in Path("/sys/fs/cgroup").rglob("nanonap-*[0-9]")]
told["given"] = (before / "cgroup.subtree_control").read_text().strip()
other.kill()
print(json.dumps(told))
"""


def in_scope(name: str, *more: str) -> list[str]:
    scope = "--user" if name == "systemd-user" else "--system"
    options = ["--scope", "--quiet", "--collect", "-p", "Delegate=cpu"]
    return ["systemd-run", scope, *options, sys.executable, "-c", IN_SCOPE, *more]


def delegated(name: str) -> Any:
    return json.loads(subprocess.run(in_scope(name), check=True, stdout=subprocess.PIPE, text=True).stdout)


def _groups() -> list[str]:
    """Ours that there are now; one may go while they are listed, which os.walk passes over."""
    found = (f"{folder}/{each}" for folder, below, _ in os.walk("/sys/fs/cgroup") for each in below)
    return [each for each in found if re.search(r"/nanonap-[^/]*[0-9]$", each)]


def delegated_killed(name: str) -> dict[str, Any]:
    with subprocess.Popen(in_scope(name, "die"), stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdout is not None
        before, other, _ = json.loads(bench.stdout.readline())
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and _groups():
            time.sleep(0.1)
        left_over = _groups()
        own = Path(f"/proc/{other}/cgroup").read_text().strip().removeprefix("0::")
        os.kill(other, signal.SIGKILL)  # it lives, in its own group again
    return {"left": left_over, "back": before == f"/sys/fs/cgroup{own}"}


def no_path(name: str) -> str | None:
    with opened(name, Limits(parse_quota("50%"))) as group:
        group.close()
        group.close()
        return refused(group._find)


def left(name: str) -> list[str]:
    """Slices of ours, and files of theirs."""
    user = name == "systemd-user"
    argv = ["systemctl", "--user" if user else "--system", "list-units", "--all", "--plain", "--no-legend", "--full"]
    listed = subprocess.run([*argv, "nanonap_*.slice"], check=True, capture_output=True, text=True).stdout
    files = Path("/run/systemd").glob("*/nanonap_*.slice.d")
    cgroups = {name for _, folders, _ in os.walk("/sys/fs/cgroup") for name in folders if name.startswith("nanonap_")}
    slices = {line.split()[0] for line in listed.splitlines()}
    return sorted(slices | cgroups) + sorted(map(str, files))


def refused(action: Callable[[], object]) -> str | None:
    try:
        action()
    except QuotaUnavailable as refusal:
        return str(refusal)
    return None


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
