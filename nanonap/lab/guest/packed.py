"""Modules of these packages as one file, which the Python of a guest for another processor runs."""

import io
import py_compile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from nanonap.base.paths import PROJECT

_UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH


def packed(main: str, patterns: Sequence[str]) -> bytes:
    """The modules that match the patterns (from the folder of both packages on), and ``main``, the text that is run.

    They are there as text, and as this machine's Python compiles it, which one of the same release takes. An emulated
    processor would compile for half a minute.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, tempfile.TemporaryDirectory() as folder:
        archive.writestr("__main__.py", main)
        for path in (each for pattern in patterns for each in sorted(PROJECT.glob(pattern))):
            name = path.relative_to(PROJECT)
            archive.write(path, name)
            compiled = Path(folder, "compiled")
            py_compile.compile(str(path), str(compiled), str(name), doraise=True, invalidation_mode=_UNCHECKED)
            archive.write(compiled, name.with_suffix(".pyc"))
    return out.getvalue()
