"""A container's root: this Python with its standard library and shared libraries, and an installed nanonap.

It stands for what the Dockerfile makes, where no base image can be fetched; the paths are the Dockerfile's.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from nanonap.base.paths import PROJECT
from tests.cli.installed import Installed

_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_PYTHON = Path("usr/local/bin") / _VERSION
_HOME = Path("opt/nanonap")
_LEFT_OUT = ("config-*", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tests", "tkinter", "turtledemo")
#: What `docker import --change` takes of a Dockerfile.
_SETTINGS = ("ENV", "USER", "WORKDIR", "ENTRYPOINT")


def settings() -> list[str]:
    """The settings of the image that the Dockerfile makes, as they stand there."""
    lines = (PROJECT / "Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2].splitlines()
    return [line for line in lines if line.startswith(_SETTINGS)]


def make_rootfs(installed: Installed, root: Path) -> None:
    """Fill the folder ``root``."""
    for name in ("tmp", "work", "usr/local/bin", "usr/local/lib"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy2(Path(sys.executable).resolve(), root / _PYTHON)
    shutil.copytree(
        sysconfig.get_path("stdlib"), root / "usr/local/lib" / _VERSION, ignore=shutil.ignore_patterns(*_LEFT_OUT)
    )
    _copy_environment(installed, root / _HOME)
    for place, library in _libraries(root).items():
        target = root / place.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, target)


def _copy_environment(installed: Installed, home: Path) -> None:
    """Only what was installed, at home in its new place."""
    packages = home / "lib" / _VERSION / "site-packages"
    packages.mkdir(parents=True)
    for name in installed.added:
        source = installed.packages / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, packages / name)
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(f"/{_PYTHON}")
    script = (installed.venv / "bin" / "nanonap").read_text(encoding="utf-8")
    (home / "bin" / "nanonap").write_text(re.sub(r"\A#!.*", f"#!/{_HOME}/bin/python", script))
    (home / "bin" / "nanonap").chmod(0o755)
    (home / "pyvenv.cfg").write_text(f"home = /{_PYTHON.parent}\n")


def _libraries(root: Path) -> dict[Path, Path]:
    """The shared libraries that the root's files need and the root does not hold: its place there → what is copied."""
    files = [root / _PYTHON, *root.rglob("*.so"), *root.rglob("*.so.*")]
    said = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout
    found = {Path(each) for each in re.findall(r"(/\S+) \(0x", said)}
    # The loader has its place by name; it looks for the rest where the C library lies.
    standard = next(each.parent for each in found if each.name.startswith("libc.so"))
    return {
        (each if each.name.startswith("ld-") else standard / each.name): each
        for each in found
        if not each.is_relative_to(root)
    }
