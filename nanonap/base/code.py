"""Which code this is: tells apart what one version number covers."""

import hashlib
from collections.abc import Sequence

from nanonap.base.paths import PROJECT


def code_sha256(packages: Sequence[str] = ("nanonap/base", "nanonap/lab")) -> str:
    """The hash of the Python code in these folders; of those that compute and draw, where none are named."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((PROJECT / package).rglob("*")):
            if path.suffix in (".py", ".jinja"):
                digest.update(f"{path.relative_to(PROJECT)}\0{len(path.read_bytes())}\0".encode() + path.read_bytes())
    return digest.hexdigest()
