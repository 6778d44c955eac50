"""A container engine's command line, docker's and podman's alike: asked, answered, refused in its own words."""

import hashlib
import io
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.foreign import DELEGATE

OWNER_LABEL = "nanonap.owner"
_PATIENCE_S = 180.0  # starting a container in a group of 1 % takes 2 s by itself; emulated, an engine half a minute
# What of the environment decides which engine a command reaches, and where podman keeps its things.
_DECIDES = re.compile(
    r"DOCKER_(HOST|CONTEXT|CONFIG|TLS|TLS_VERIFY|CERT_PATH|API_VERSION)|CONTAINER_(HOST|CONNECTION|SSHKEY)"
    r"|CONTAINERS_(CONF|CONF_OVERRIDE|STORAGE_CONF|REGISTRIES_CONF)|STORAGE_(DRIVER|OPTS)"
    r"|XDG_(RUNTIME_DIR|DATA_HOME|CONFIG_HOME)|HOME|PATH|TMPDIR"
)
_NOISE = re.compile(r"^(See|Run) '.* --help'.*|^For more help.*")
# The folders that programs are linked against or call. A link to a part of /usr is one inside too.
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True)
class Engine:
    """``name`` is the command; ``package`` what installs it; ``unreachable`` what to do if it does not answer."""

    name: str
    package: str
    unreachable: str

    def ask(self, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its status. Raises QuotaUnavailable if it cannot be run or hangs.

        It leads a session of its own, so that a Ctrl-C does not end it half-way.
        """
        try:
            done = subprocess.run(
                [self.name, *arguments],
                input=b"" if stdin is None else stdin,
                capture_output=True,
                check=False,
                timeout=_PATIENCE_S,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            remedy = f"install it (on Debian: apt-get install {self.package}), or choose another --backend"
            raise QuotaUnavailable(self.name, f"there is no {self.name} command here", remedy) from error
        except subprocess.TimeoutExpired as error:
            reason = f"`{self.name} {arguments[0]}` did not end within {_PATIENCE_S:.0f} s"
            raise QuotaUnavailable(self.name, reason, self.unreachable) from error
        out, err = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def must(self, action: str, *arguments: str, stdin: bytes | None = None) -> str:
        """What the command wrote to stdout. Raises QuotaUnavailable, in the engine's words, if it failed."""
        done = self.ask(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise self.refusal(action, done.stderr)
        return done.stdout.strip()

    def refusal(self, action: str, stderr: str) -> QuotaUnavailable:
        """The error for what the engine refused, with the remedy that fits its words."""
        said = told(stderr)
        lower = said.lower()
        if "permission denied" in lower and "socket" in lower:
            remedy = "run as root, or have this user added to the group docker and log in again"
        elif "cannot connect" in lower or "failed to connect" in lower or "connection refused" in lower:
            remedy = self.unreachable
        elif "rlimit" in lower:
            remedy = (
                'set `default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]` under [containers] in containers.conf'
            )
        elif "cgroup" in lower and os.geteuid() != 0:
            remedy = DELEGATE
        else:
            remedy = f"choose what {self.name} takes, or another --backend"
        return QuotaUnavailable(self.name, f"{action} was refused ({said})", remedy)

    def remove(self, container: str) -> None:
        """End a container and remove it; a missing one is fine. Raises QuotaUnavailable if it stays."""
        done = self.ask("rm", "--force", "--volumes", container)
        if done.returncode != 0 and "no such container" not in done.stderr.lower():
            raise self.refusal(f"removing the container {container}", done.stderr)

    def removal(self, container: str) -> list[str]:
        """The command that does so, for a process that does not have this environment."""
        chosen = [f"{name}={value}" for name, value in sorted(os.environ.items()) if _DECIDES.fullmatch(name)]
        return ["env", *chosen, self.name, "rm", "--force", "--volumes", container]

    def make_image(self) -> str:
        """The name of the image that groups run in, made if it is not there: it holds nothing but places to mount at.

        The name tells the content, so that it is made once on a machine. Raises QuotaUnavailable.
        """
        content = _empty_tree()
        name = f"nanonap-empty:{hashlib.sha256(content).hexdigest()[:12]}"
        if self.ask("image", "inspect", name).returncode != 0:
            self.must(f"making the image {name}", "import", "-", name, stdin=content)
        return name


def told(stderr: str) -> str:
    """An engine's message as one line, without its hints at --help."""
    lines = [line.strip() for line in stderr.splitlines()]
    text = "; ".join(line for line in lines if line and not _NOISE.match(line))
    return (
        text.removeprefix("docker: ").removeprefix("Error: ").removeprefix("Error response from daemon: ")
        or "without a message"
    )


def mounted() -> list[Path]:
    """The folders of this machine that are seen inside, read-only, under their own names."""
    return [path for name in _SYSTEM if (path := Path("/", name)).is_dir() and not path.is_symlink()]


def _empty_tree() -> bytes:
    """A tar of the folders to mount at, and of the links to them; the same bytes for the same tree."""
    tree = io.BytesIO()
    with tarfile.open(fileobj=tree, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("dev", "proc", "sys", "tmp", *_SYSTEM):
            path, entry = Path("/", name), tarfile.TarInfo(name)
            if path.is_symlink():
                entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
            elif path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            else:
                continue
            tar.addfile(entry)
    return tree.getvalue()


def packed(program: Path) -> bytes:
    """A tar that holds the program at the path by which it is called."""
    tree = io.BytesIO()
    with tarfile.open(fileobj=tree, mode="w") as tar:
        entry = tar.gettarinfo(program.resolve(), arcname=str(program))
        with program.open("rb") as content:
            tar.addfile(entry, content)
        end = tar.offset + 2 * tarfile.BLOCKSIZE
    # Podman 4.3 stops reading at the two empty blocks that end an archive, and takes what follows for a broken pipe.
    return tree.getvalue()[:end]


def at_its_path(program: str) -> Path | None:
    """Where a program lies on this machine if it must be brought in: None for what is mounted or is not there."""
    path = Path(os.path.abspath(program)) if "/" in program else None  # noqa: PTH100 - resolve() would follow links
    if path is None or not path.is_file() or any(path.is_relative_to(f"/{name}") for name in _SYSTEM):
        return None
    return path
