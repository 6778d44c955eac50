"""A bundle, read back: nothing in it is trusted before its names, sizes and checksums are checked."""

import hashlib
import json
import os
import platform
import re
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from importlib import metadata
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

from rich.markup import escape

from nanonap import __version__
from nanonap.base.code import code_sha256
from nanonap.base.errors import OutputExists, UsageError
from nanonap.base.files import as_ours
from nanonap.base.terminal import command, messages
from nanonap.lab.ground.errors import BadBundle
from nanonap.lab.judge.analysis import analyse
from nanonap.lab.main import FORMATS
from nanonap.lab.publish.bundle import ABOUT, COMPUTING, RESULT, SCHEMA, SUMMARY, SUMS
from nanonap.lab.show import report
from nanonap.lab.show.terminal import print_summary
from nanonap.lab.store.read import load

MOST_FILES = 20_000
MOST_BYTES = 1 << 30
#: Text of the same few words shrinks to a fiftieth; only what was made for it shrinks further.
MOST_RATIO = 200
_SMALL_BYTES = 16 << 20
_PART = r"[A-Za-z0-9_+@%,=-][A-Za-z0-9_.+@%,=-]*"
_NAME = re.compile(rf"{_PART}(/{_PART})*")
_SUM = re.compile(r"([0-9a-f]{64})  (.+)")
_SHOWN = 3
_ABSENT = object()
_ENCRYPTED = 1


def redraw_bundle(bundle: Path, form: str = "html", out: Path | None = None) -> None:
    """As ``nanonap.lab.main.redraw``, for a bundle; says on stderr whether the summary drawn is the one bundled.

    ``html`` unpacks the result into a folder (``out``, or the bundle's name without .zip, beside it), draws there and
    prints the page's path; the other forms print to stdout and leave nothing. Raises UsageError, BadBundle, BadResult,
    OutputExists, OutputNotWritable, DiskFull.
    """
    if form not in FORMATS:
        raise UsageError(f"no such format: {form}; choose from {', '.join(FORMATS)}")
    if form != "html":
        if out is not None:
            raise UsageError(f"--out is the folder that --format html writes; {form} goes to stdout")
        _print(bundle, form)
        return
    folder = out if out is not None else _beside(bundle)
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputExists(f"{folder}: exists; choose another --out, or remove it first")
    files = read_bundle(bundle)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name[:100]}.", dir=folder.parent) as name:
            stage = _unpack(files, Path(name))
            summary = report.write_report(stage)
            _tell(files, (stage / "summary.json").read_bytes())
            stage.rename(folder)
    except OSError as error:
        raise as_ours(error, folder) from error
    print_summary(summary, str(folder / "report.html"))


def _print(bundle: Path, form: str) -> None:
    files = read_bundle(bundle)
    try:
        with tempfile.TemporaryDirectory(prefix="nanonap-report-") as name:
            result = load(_unpack(files, Path(name)))
            summary = analyse(result).summary
    except OSError as error:
        raise as_ours(error, Path(tempfile.gettempdir())) from error
    _tell(files, report.as_json(summary).encode())
    if form == "benchfmt":
        print(report.as_benchfmt(result), end="")
    else:
        print(report.as_json(summary) if form == "json" else report.as_markdown(summary), end="")


def _beside(bundle: Path) -> Path:
    return bundle.with_suffix("") if bundle.suffix == ".zip" else bundle.with_name(f"{bundle.name}-result")


def _unpack(files: dict[str, bytes], around: Path) -> Path:
    """Write the result's files below ``around``; returns its folder."""
    for name, content in files.items():
        if name.startswith(f"{RESULT}/"):
            target = around / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return around / RESULT


def read_bundle(bundle: Path) -> dict[str, bytes]:
    """Every file of a bundle by its name, each as its checksum says. Raises BadBundle, naming what is wrong.

    The checksums find damage. Who made the bundle they cannot tell: that takes a signature.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            entries = archive.infolist()
            _check_entries(bundle, entries)
            files = {entry.filename: _content(archive, entry, bundle) for entry in entries}
    except FileNotFoundError as error:
        raise BadBundle(f"{bundle}: no such file; `{command('bundle')}` makes one") from error
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise BadBundle(f"{bundle}: not a readable zip file ({error}); get it again") from error
    missing = [name for name in (SUMS, ABOUT, SUMMARY) if name not in files]
    if missing:
        raise BadBundle(f"{bundle}: not a bundle, it holds no {', '.join(missing)}")
    _check_sums(bundle, files)
    _check_about(bundle, files[ABOUT])
    return files


def _check_entries(bundle: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Before anything is unpacked. Raises BadBundle."""
    names = [entry.filename for entry in entries]
    if len(entries) > MOST_FILES:
        raise BadBundle(f"{bundle}: holds {len(entries)} files, more than the {MOST_FILES} that a bundle may")
    for entry in entries:
        # The zip's own copy of the name: Python cuts one at a NUL.
        if not _NAME.fullmatch(entry.filename) or entry.orig_filename != entry.filename:
            raise BadBundle(
                f"{bundle}: the name {entry.orig_filename!r} is not one that a bundle has; nothing was unpacked"
            )
        mode = entry.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG) or entry.flag_bits & _ENCRYPTED:
            raise BadBundle(f"{bundle}: {entry.filename} is a link, no plain file, or encrypted; nothing was unpacked")
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    twice = sorted(name for name, count in Counter(names).items() if count > 1 or name in folders)
    if twice:
        raise BadBundle(f"{bundle}: {twice[0]} is in it twice; nothing was unpacked")
    size, packed = sum(entry.file_size for entry in entries), bundle.stat().st_size
    if size > MOST_BYTES or size > max(_SMALL_BYTES, MOST_RATIO * packed):
        raise BadBundle(
            f"{bundle}: {packed} bytes that would unpack to {size}, which no bundle does; nothing was unpacked"
        )


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, bundle: Path) -> bytes:
    # At most the size that was checked: zipfile reads no further than the entry says.
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BadBundle(f"{bundle}: {entry.filename} is damaged ({error}); get the bundle again") from error


def _check_sums(bundle: Path, files: dict[str, bytes]) -> None:
    sums: dict[str, str] = {}
    for line in files[SUMS].decode("ascii", errors="replace").splitlines():
        match = _SUM.fullmatch(line)
        if match is None or match[2] in sums:
            raise BadBundle(f"{bundle}: a line of {SUMS} is no checksum, or there twice: {line[:80]!r}")
        sums[match[2]] = match[1]
    differing = sorted(sums.keys() ^ (files.keys() - {SUMS}))
    if differing:
        raise BadBundle(f"{bundle}: {differing[0]} is in the bundle or in its {SUMS}, but not in both")
    for name, wanted in sums.items():
        if hashlib.sha256(files[name]).hexdigest() != wanted:
            raise BadBundle(f"{bundle}: {name} is not what {SUMS} says: it was changed; get the bundle again")


def _check_about(bundle: Path, content: bytes) -> None:
    try:
        about = json.loads(content)
        schema, _ = about["schema"], dict(about["drawn"]["packages"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadBundle(f"{bundle}: {ABOUT} cannot be read ({error})") from error
    if schema != SCHEMA:
        raise BadBundle(f"{bundle}: of schema {schema}, this tool reads {SCHEMA}")


def _tell(files: dict[str, bytes], drawn: bytes) -> None:
    """Say on stderr whether the summary drawn is the one bundled, and if not, what differs and which versions do."""
    bundled = files[SUMMARY]
    if drawn == bundled:
        messages().print("the summary redrawn from the raw data is the bundled one, byte for byte", highlight=False)
        return
    changed, added = compare(json.loads(bundled), json.loads(drawn))
    versions = differing_versions(json.loads(files[ABOUT]))
    text = (
        f"{len(changed)} of its figures differ ({', '.join(changed[:_SHOWN])})"
        if changed
        else "every bundled figure is the same"
    )
    text += f", {added} fields are new" if added else ""
    why = f"versions differ: {'; '.join(versions)}" if versions else "though no version differs"
    messages().print(
        f"[yellow]warning[/] {escape(f'the summary redrawn is not the bundled one: {text}; {why}')}", highlight=False
    )


def compare(bundled: Any, drawn: Any, where: str = "") -> tuple[list[str], int]:  # noqa: ANN401 - any JSON
    """(where the bundled document's values are not found in the one drawn, how many fields are new in that)."""
    if isinstance(bundled, dict) and isinstance(drawn, dict):
        pairs = [(f"{where}.{name}".lstrip("."), bundled[name], drawn.get(name, _ABSENT)) for name in bundled]
        added = len(drawn.keys() - bundled.keys())
    elif isinstance(bundled, list) and isinstance(drawn, list):
        pairs = [(f"{where}[{at}]", *pair) for at, pair in enumerate(zip_longest(bundled, drawn, fillvalue=_ABSENT))]
        added = 0
    else:
        return ([] if repr(bundled) == repr(drawn) else [where], 0)
    parts = [compare(one, other, name) for name, one, other in pairs]
    return [each for changed, _ in parts for each in changed], added + sum(more for _, more in parts)


def differing_versions(about: dict[str, Any]) -> list[str]:
    """What computes and draws here, and what did for the bundle, where they differ."""
    drawn = about["drawn"]
    here = {"python": platform.python_version(), **{name: metadata.version(name) for name in COMPUTING}}
    there = {"python": drawn.get("python"), **drawn["packages"]}
    differing = [
        f"{name} {value} here, {there.get(name)} there" for name, value in here.items() if there.get(name) != value
    ]
    if about.get("tool") != __version__:
        differing.append(f"nanonap {__version__} here, {about.get('tool')} there")
    elif about.get("code_sha256") != code_sha256():
        differing.append(f"nanonap's own code, both of version {__version__}")
    return differing
