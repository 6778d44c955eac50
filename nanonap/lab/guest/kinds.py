"""The kinds of image: one recipe makes all of them, and a kind says what it adds to it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nanonap.lab.guest.architecture import ARM, X86, Architecture

RECIPE = Path(__file__).parent / "recipe"


@dataclass(frozen=True)
class Kind:
    """``packages`` and kernel ``modules`` beside those of every image; ``left_out``, patterns of files not unpacked;
    ``words`` for the kernel's command line; ``folder`` below RECIPE, the kind's own files with its script ``setup.sh``.

    ``kernel``: the suite of Debian's archive that its kernel is of, where that is another than the system's.

    ``whole``: an installed system on a disk. Else nothing of it is on a disk, and its packages are only unpacked: those
    of another processor cannot run their scripts here, and the kind's own script makes all there is.
    """

    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    folder: str | None = None
    architecture: Architecture = X86
    kernel: str | None = None
    whole: bool = True

    def files(self) -> Iterator[Path]:
        """The recipe's files for this kind, in the order of their names."""
        yield from sorted(path for path in RECIPE.iterdir() if path.is_file())
        if self.folder is not None:
            yield from sorted(path for path in (RECIPE / self.folder).iterdir() if path.is_file())


PLAIN = Kind()
#: Debian's docker.io. What is left out nobody calls, 65 MB. Without apparmor=0 the engine refuses every container: it
#: finds AppArmor in the kernel and no apparmor_parser.
DOCKER = Kind(
    packages=("docker.io",),
    modules=("overlay",),
    left_out=(
        "/usr/bin/ctr",
        "/usr/bin/containerd-shim",
        "/usr/bin/containerd-shim-runc-v1",
        "/usr/*bin/dnet",
        "/usr/*bin/ovrouter",
    ),
    words=("apparmor=0",),
    folder="docker",
)
#: A newer kernel below the same system. PLAIN's is that of the release, 6.1.
BACKPORTS = Kind(kernel="bookworm-backports")
#: All in memory, so that nothing of this machine's disk is in what it measures; libc6 is for programs that are linked
#: against it, strace to count what programs call.
JOBS = Kind(
    packages=("busybox-static", "libc6", "strace"),
    words=("quiet", "panic=-1", "nokaslr", "norandmaps"),
    folder="jobs",
    architecture=ARM,
    whole=False,
)
#: The same with Python, for what has to work on a program that runs there.
PYTHON_JOBS = replace(JOBS, packages=(*JOBS.packages, "python3"))
KINDS = (PLAIN, DOCKER, JOBS, PYTHON_JOBS, BACKPORTS)
