"""The page and its data, made aside and put in their places all at once."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from nanonap.base.errors import OutputExists, OutputNotWritable
from nanonap.base.files import as_ours, beside_all

PAGE, FOLDER = "claims.md", "claims"


def prepare(root: Path) -> None:
    """Make the folder of page and data. Raises OutputExists if another page is in it, OutputNotWritable, DiskFull."""
    if (root / PAGE).exists() and not (root / FOLDER).is_dir():
        raise OutputExists(f"{root / PAGE}: exists, and is no table of claims; choose another --out")
    if root.exists() and not root.is_dir():
        raise OutputNotWritable(f"{root}: not a folder; choose another --out")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise as_ours(error, root) from error


@contextlib.contextmanager
def copied(recorded: Path) -> Iterator[Path]:
    """A temporary folder that holds a copy of the recorded data, and is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="nanonap-claims-") as folder:
        copy = Path(folder)
        if recorded.is_dir():
            shutil.copytree(recorded, copy / FOLDER)
        yield copy


def put_in_place(copy: Path, root: Path, texts: Mapping[Path, str]) -> None:
    """Put the copy's data under ``root`` and the texts in their files: all of them, or none.

    What is the same already is left alone. Raises OutputNotWritable, DiskFull.
    """
    contents = {root / path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    contents |= {path: text.encode() for path, text in texts.items()}
    changed = {path: content for path, content in contents.items() if _content(path) != content}
    for path in changed:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise as_ours(error, path.parent) from error
    with beside_all(*changed) as temporaries:
        for temporary, content in zip(temporaries, changed.values(), strict=True):
            temporary.write_bytes(content)
            temporary.chmod(0o644)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
