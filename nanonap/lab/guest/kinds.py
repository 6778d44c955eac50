"""The kinds of image: one recipe makes all of them, and a kind says what it adds to it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RECIPE = Path(__file__).parent / "recipe"


@dataclass(frozen=True)
class Kind:
    """``packages`` and kernel ``modules`` beside those of every image; ``left_out``, patterns of files not unpacked;
    ``words`` for the kernel's command line; ``folder`` below RECIPE, the kind's own files with its script ``setup.sh``.
    """

    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    folder: str | None = None

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
KINDS = (PLAIN, DOCKER)
