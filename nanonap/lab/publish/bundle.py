"""A result in one file to publish: raw data, what is drawn of it, manifests, environment, checksums, the commands.

The same folder gives the same bytes in the same environment: names sorted, time stamps and permissions fixed. What is
drawn is drawn anew, so that the summary in a bundle is the one that its own raw data give.
"""

import hashlib
import json
import os
import platform
import shutil
import stat
import tempfile
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rich.markup import escape

from nanonap import INSTALLED, __version__
from nanonap.base.code import code_sha256
from nanonap.base.errors import OutputExists
from nanonap.base.files import beside
from nanonap.base.paths import PATCHED, PROJECT
from nanonap.base.terminal import COMMAND, messages
from nanonap.lab.show.report import write_report
from nanonap.lab.store.read import Result, load
from nanonap.lab.store.write import BENCH, PARTS, RUNS

SCHEMA = 1
ABOUT, SUMS, README, RESULT = "bundle.json", "SHA256SUMS", "README.txt", "result"
SUMMARY = f"{RESULT}/summary.json"
#: The packages whose versions decide what is computed and drawn.
COMPUTING = ("numpy", "scipy", "polars", "matplotlib")
_MANIFESTS, _LOCK = "manifests", "environment/requirements.lock"
#: The oldest time stamp that a zip can hold.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


@dataclass(frozen=True)
class Bundled:
    """``bundle``: its path; ``files`` and ``manifests``: how many; ``without_manifest``: arms whose own are no more."""

    bundle: str
    bytes: int
    sha256: str
    files: int
    manifests: int
    without_manifest: list[str]


def write_bundle(folder: Path, out: Path | None = None, patched_root: Path = PATCHED) -> Bundled:
    """Bundle a result folder into ``out`` (default: the folder's name with .zip, beside it).

    Raises BadResult, OutputExists, OutputNotWritable, DiskFull.
    """
    # The folder may be given as ".", or by the link to the latest.
    whole = folder.resolve()
    target = out if out is not None else whole.with_name(f"{whole.name}.zip")
    if os.path.lexists(target):
        raise OutputExists(f"{target}: exists; choose another --out, or remove it first")
    result = load(folder)
    manifests, without = _manifests(result, patched_root)
    # Before the work, which takes seconds: is there a place to write to?
    with beside(target, replace=False) as temporary:
        files = {f"{RESULT}/{name}": content for name, content in _result_files(folder).items()}
        files |= manifests
        if not INSTALLED:
            files[_LOCK] = (PROJECT / "requirements.lock").read_bytes()
        files[ABOUT] = _json(_about(result, without))
        files[README] = _readme(result).encode()
        _write_zip(temporary, files)
        temporary.chmod(0o644)
    if without:
        _warn(f"no manifest is left of {', '.join(without)}: patched again since? The bundle goes without")
    for name in _telling(files):
        _warn(f"{name} in the bundle names this machine or a folder of its; look at it before you publish")
    packed = target.read_bytes()
    sha256 = hashlib.sha256(packed).hexdigest()
    return Bundled(str(target), len(packed), sha256, len(files) + 1, len(manifests), without)


def _result_files(folder: Path) -> dict[str, bytes]:
    """The raw data of a result and all that is drawn of them, by their names in the folder."""
    with tempfile.TemporaryDirectory(prefix="nanonap-bundle-") as name:
        stage = Path(name) / RESULT
        raw = [folder / RUNS, folder / BENCH, *folder.glob("*.parquet"), *(folder / PARTS).glob("*.parquet")]
        for path in raw:
            if path.exists():
                copy = stage / path.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
        write_report(stage)
        return {str(path.relative_to(stage)): path.read_bytes() for path in stage.rglob("*") if path.is_file()}


def _manifests(result: Result, patched_root: Path) -> tuple[dict[str, bytes], list[str]]:
    """(the manifests of the measured files, by their names in the bundle; the patched arms that have none)."""
    patched = {run.binary_sha256: run.arm for run in result.runs if run.strategy is not None}
    found: dict[str, bytes] = {}
    seen: set[str] = set()
    for go_version in sorted({run.go_version for run in result.runs}):
        for path in sorted((patched_root / go_version).glob("*/*.patch.json")):
            content = path.read_bytes()
            output = _output_sha256(content)
            if output is not None and output in patched and output not in seen:
                seen.add(output)
                found[f"{_MANIFESTS}/{go_version}/{path.parent.name}/{path.name}"] = content
    return found, sorted({arm for sha256, arm in patched.items() if sha256 not in seen})


def _output_sha256(manifest: bytes) -> str | None:
    try:
        return str(json.loads(manifest)["output"]["sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def _about(result: Result, without: list[str]) -> dict[str, object]:
    """bundle.json: what was measured with what, and what this bundle was drawn with. No names of hosts or users."""
    host = result.runs[0].host
    return {
        "schema": SCHEMA,
        "tool": __version__,
        "code_sha256": code_sha256(),
        "partial": result.partial,
        "measured": {
            "command": result.about.command,
            "tool": host.tool,
            "go_version": result.runs[0].go_version,
            **{name: getattr(host, name) for name in ("kernel", "arch", "cpu_model", "cpus_online", "python")},
            "binaries": {run.arm: run.binary_sha256 for run in result.runs},
            "without_manifest": without,
        },
        "drawn": {"python": platform.python_version(), "packages": _packages()},
    }


def _packages() -> dict[str, str]:
    installed = {each.name.lower(): each.version for each in metadata.distributions() if each.name}
    return dict(sorted(installed.items()))


def _readme(result: Result) -> str:
    command = result.about.command or f"{COMMAND} bench"
    go_version = result.runs[0].go_version
    options = command.partition(" bench")[2].strip()
    release = "" if "--go" in options.split() else f"--go {go_version}"
    if INSTALLED:
        typed, whence = "nanonap", f"after pip install 'nanonap[lab]=={__version__}'"
        packages = f"{ABOUT}   lists the Python packages that were installed"
    else:
        typed, whence = "./lab", "from a clone of nanonap"
        packages = (
            f"environment/  requirements.lock: the Python packages, by hash; {ABOUT} lists those that were installed"
        )
    again = " ".join(word for word in (f"{typed} bench", release, options) if word)
    kernel = result.runs[0].host.kernel
    return f"""A result of nanonap {__version__}, measured with Go {go_version} on Linux {kernel}.

What is here
  result/       raw data (runs.jsonl, bench.json, *.parquet), and what is drawn of them: summary.json, report.html, PNG
  manifests/    every byte in which the patched programs differ from the built one
  {packages}
  {SUMS}    of every file here but itself

Is it whole?
  unzip BUNDLE.zip -d bundle && cd bundle && sha256sum --check --strict {SUMS}

Draw it again, {whence} (Linux x86-64, Python 3.11 or later)
  {typed} report BUNDLE.zip                    # writes the page and the plots into BUNDLE/
  {typed} report BUNDLE.zip --format json      # or markdown, benchfmt: to stdout
  (Both say whether the summary drawn is the one bundled, and which versions differ if it is not.)

Measure it again, on your machine
  {typed} build --go {go_version} patch
  {again}
  {typed} compare BUNDLE artifacts/results/latest
"""


def _write_zip(target: Path, files: dict[str, bytes]) -> None:
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted({**files, SUMS: sums.encode()}.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _UNIX
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content)


def _telling(files: dict[str, bytes]) -> list[str]:
    """The files that hold a path or a name of this machine: a note of a failed run may."""
    secrets = {str(PROJECT), str(Path.home()), tempfile.gettempdir() + "/"} - {"/"}
    node = platform.node()
    secrets |= {node} if len(node) > 3 and node != "localhost" else set()
    texts = (name for name in sorted(files) if name.startswith(f"{RESULT}/") and name.endswith((".json", ".jsonl")))
    return [name for name in texts if any(secret.encode() in files[name] for secret in secrets)]


def _json(document: dict[str, object]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _warn(text: str) -> None:
    messages().print(f"[yellow]warning[/] {escape(text)}", highlight=False)
