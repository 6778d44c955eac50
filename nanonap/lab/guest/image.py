"""The guest's image: Debian 12 with its kernel or a newer one, made once by mmdebstrap into ``artifacts/guest/KEY``.

KEY hashes a kind's recipe (packages and the files of ``recipe/``), not what the archive had on that day: that is in the
image's ``packages.txt``. Only the images of the present recipes are kept.
"""

import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.files import as_ours
from nanonap.base.paths import ARTIFACTS
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.guest.cpio import archive, entries_of
from nanonap.lab.guest.kinds import KINDS, PLAIN, RECIPE, Kind
from nanonap.toolchain.locks import locked
from nanonap.toolchain.progress import progress_bar

GUEST = ARTIFACTS / "guest"
SUITE = "bookworm"
INCLUDED = ("usr-is-merged", "python3", "systemd", "systemd-sysv", "dbus", "libpam-systemd", "dbus-user-session")
#: The kernel has virtio as modules; the initramfs loads them in this order.
_MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
)
#: What the host needs beside the emulator, and the Debian package that has it.
NEEDED = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "dpkg-deb": "dpkg", "tar": "tar"}
#: What a user without root needs as well: mmdebstrap then makes the image in a user namespace.
_NEEDED_BY_USERS = {"newuidmap": "uidmap"}
_HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
# Of mmdebstrap's own words on stderr, for the bar: about how many lines it says before the recipe.
_STEPS = 14
_TAIL = 600
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Image:
    """An image: its folder, which is named after the recipe's hash, and its kind."""

    folder: Path
    kind: Kind = PLAIN

    @property
    def key(self) -> str:
        """The recipe's hash."""
        return self.folder.name

    @property
    def root(self) -> Path:
        """The root file system, ext4, raw; only ever read. An image that is not whole has none."""
        return self.folder / "root.ext4"

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initial file system."""
        return self.folder / "initrd"

    @property
    def packages(self) -> Path:
        """``NAME VERSION`` lines, the kernel among them."""
        return self.folder / "packages.txt"


def recipe_key(kind: Kind = PLAIN) -> str:
    """Hex; changes when the image of that kind would."""
    digest = hashlib.sha256(repr((SUITE, INCLUDED, _MODULES, _LEFT_OUT, kind)).encode())
    for path in kind.files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def check_host(backend: str, kind: Kind = PLAIN) -> None:
    """Raises QuotaUnavailable, naming the packages that are missing."""
    target = kind.architecture.target
    if kind.whole and not target.here:
        raise QuotaUnavailable(
            backend, f"the guest is linux/{target.name}, this is {platform.machine()}", "use another backend"
        )
    needed = {kind.architecture.qemu: kind.architecture.package, **NEEDED}
    if os.geteuid() != 0:
        needed |= _NEEDED_BY_USERS
    missing = [package for command, package in needed.items() if _where(command) is None]
    if missing:
        remedy = f"apt-get install --no-install-recommends {' '.join(missing)}"
        raise QuotaUnavailable(backend, f"not installed: {', '.join(missing)}", remedy)


def _where(command: str) -> str | None:
    # A user's PATH often lacks /usr/sbin, where mke2fs is.
    return shutil.which(command) or shutil.which(command, path="/usr/sbin:/sbin")


def image(backend: str, folder: Path = GUEST, kind: Kind = PLAIN) -> Image:
    """The image of a kind's present recipe, made if it is not there.

    Raises QuotaUnavailable, DiskFull, OutputNotWritable.
    """
    check_host(backend, kind)
    target = folder / recipe_key(kind)
    if not target.exists():
        with locked(folder / ".lock"):
            if not target.exists():  # who held the lock may have made it
                _make(backend, target, kind)
                _keep_present(folder)
    return Image(target, kind)


def _keep_present(folder: Path) -> None:
    present = {recipe_key(kind) for kind in KINDS}
    for other in folder.iterdir():
        if other.name not in present and other.is_dir():
            shutil.rmtree(other, ignore_errors=True)


def _make(backend: str, target: Path, kind: Kind) -> None:
    with _scratch(target.parent) as scratch:
        done = _mmdebstrap(scratch, kind)
        if done is not None:
            reason = f"mmdebstrap could not make the guest's image: …{done[-_TAIL:]}"
            raise QuotaUnavailable(
                backend, reason, "fix what it says (it needs the network and 1 GB of disk), then try again"
            )
        try:
            if not kind.whole:
                _pack(scratch / "out" / "tree", scratch / "out" / "initrd")
            (scratch / "out").rename(target)
        except OSError as error:
            raise as_ours(error, target) from error


def _pack(tree: Path, initrd: Path) -> None:
    # Here, since a kind's own cpio may be of another processor, and the host may have none.
    initrd.write_bytes(archive(entries_of(tree)))
    shutil.rmtree(tree)


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=parent))
    except OSError as error:
        raise as_ours(error, parent) from error
    guard.watch_path(scratch)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        guard.forget_path(scratch)


def _mmdebstrap(scratch: Path, kind: Kind) -> str | None:
    # None, or what it said last. A package that is only unpacked runs no script, and there is nothing to customize.
    own = [] if kind.folder is None else [f'sh "$1/recipe/{kind.folder}/setup.sh" "$1"']
    all_of_it = f'sh "$1/recipe/recipe.sh" "$1" {" ".join((*_MODULES, *kind.modules))}'
    variant, moment, included = ("minbase", "customize", INCLUDED) if kind.whole else ("extract", "extract", ())
    hooks = [
        f"copy-in {shlex.quote(str(RECIPE))} /",
        *own,
        *([all_of_it] if kind.whole else []),
        f"copy-out /out {shlex.quote(str(scratch))}",
    ]
    argv = [
        *_around(),
        "mmdebstrap",
        f"--variant={variant}",
        f"--architectures={kind.architecture.target.name}",
        "--format=null",
        f"--hook-dir={_HOOKS}",
        f"--include={','.join((*included, *kind.packages))}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in (*_LEFT_OUT, *kind.left_out)),
        *_newer_kernel(kind.kernel),
        *(f"--{moment}-hook={each}" for each in hooks),
        SUITE,
        "-",
        *_own_sources(),
    ]
    with (
        progress_bar() as bar,
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            cwd=scratch,
            env=_environment(scratch),
        ) as process,
    ):
        guard.watch_session(process.pid)
        task = bar.add_task("making the guest's image (once)", total=_STEPS)
        said = ""
        try:
            for line in process.stderr or ():
                said = (said + line)[-2 * _TAIL :]
                if line.startswith("I: "):
                    bar.advance(task)
            return None if process.wait() == 0 else " ".join(said.split())
        finally:
            if process.poll() is None:
                _end(process)
            guard.forget_session(process.pid)


def _end(process: "subprocess.Popen[str]") -> None:
    if os.geteuid() != 0:
        # Only it can remove what its other user has unpacked; it does once its child has ended.
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _around() -> list[str]:
    # Root's mmdebstrap mounts into the guest's folder. In namespaces of its own all of that is gone with the process.
    return ["unshare", "--mount-proc", "--pid", "--kill-child"] if os.geteuid() == 0 else []


def _environment(scratch: Path) -> dict[str, str]:
    if os.geteuid() != 0:
        # Another user, of those in /etc/subuid, unpacks it: not in a folder that may be shut to others.
        return dict(os.environ)
    scratch.chmod(0o755)  # apt fetches as its own user
    return {**os.environ, "TMPDIR": str(scratch)}


def _newer_kernel(suite: str | None) -> list[str]:
    """The options that have apt take kernels, and nothing else, of another suite (apt_preferences(5)), from the mirrors
    that have the system's.
    """
    if suite is None:
        return []
    pin = rf"Package: linux-image-*\nPin: release n={suite}\nPin-Priority: 990\n"
    lists = f"find \"$1/etc/apt\" -name '*.list' -exec sed -n 's/ {SUITE} / {suite} /p' {{}} +"
    return [
        f"--setup-hook=printf '{pin}' > \"$1/etc/apt/preferences.d/kernel\"",
        f'--setup-hook=more=$({lists}); echo "$more" > "$1/etc/apt/sources.list.d/kernel.list"',
    ]


def _own_sources() -> list[str]:
    # The host's own mirrors of the same release where it has them; else mmdebstrap takes the archive's.
    if _where("apt-get") is None:
        return []
    wanted = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages", "Origin: Debian", "Component: main"],
        capture_output=True,
        text=True,
        check=False,
    )
    return sorted({line for line in done.stdout.splitlines() if line.split()[2].startswith(SUITE)})
