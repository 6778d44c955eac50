"""Groups that another program made (systemd, a container engine): found by their path, read, never written."""

from collections.abc import Callable
from pathlib import Path

from nanonap.lab.quota import cgroup1, cgroup2
from nanonap.lab.quota.cgroup import own_folder
from nanonap.lab.quota.cgroup1 import Cgroup1Group
from nanonap.lab.quota.cgroup2 import Cgroup2Group

DELEGATE = (
    "have the controllers delegated to the user's manager: `Delegate=cpu cpuset io memory pids` under [Service] in "
    "/etc/systemd/system/user@.service.d/delegate.conf, `systemctl daemon-reload`, log in again; or run as root"
)
"""What lets a user without root limit the CPU of processes."""
#: Gives the path of a v1 controller's cgroup, or of the v2 one for "".
PathOf = Callable[[str], str]


class _Foreign1(Cgroup1Group):
    def __init__(self, cpu: Path, usage: Path | None, memory: Path | None) -> None:
        self.folders, self.folder, self.usage, self.memory = [cpu], cpu, usage, memory
        self.effective = self.read_limits()

    def close(self) -> None:
        """Who made it removes it."""


class _Foreign2(Cgroup2Group):
    def __init__(self, folder: Path) -> None:
        self.folders, self.folder = [folder], folder
        self.effective = self.read_limits()

    def close(self) -> None:
        """Who made it removes it."""


def find_group(path_of: PathOf) -> Cgroup1Group | Cgroup2Group:
    """The group at these paths, where the cpu controller is: in a v1 hierarchy if one holds it, else in v2.

    OSError if it is not seen here.
    """
    mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8")

    def folder_of(controller: str) -> Path | None:
        mount = cgroup1.find_mount(mountinfo, controller)
        return None if mount is None else own_folder(*mount, path_of(controller))

    cpu = folder_of("cpu")
    if cpu is not None:
        return _Foreign1(cpu, folder_of("cpuacct"), folder_of("memory"))
    unified = cgroup2.find_mount(mountinfo)
    if unified is None:
        raise FileNotFoundError("no cgroup file system with the cpu controller is mounted")
    folder = own_folder(*unified, path_of(""))
    folder.stat()
    return _Foreign2(folder)


def paths_of_process(pid: int, owner: str) -> PathOf:
    """The paths of the group around a process whose name contains ``owner``: the process may be in one below it.

    OSError if there is no such process here, ValueError if it is in no such group.
    """
    text = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")

    def path_of(controller: str) -> str:
        path = cgroup1.own_path(text, controller) if controller else cgroup2.own_path(text)
        before, found, after = path.partition(owner)
        if not found:
            raise ValueError(f"process {pid} is in {path}")
        return before + found + after.partition("/")[0]

    return path_of
