"""nanonap as a user installs it: a wheel, an environment, an empty folder, and no checkout in sight."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.paths import PROJECT
from nanonap.base.terminal import TYPED
from tests.patience import PATIENCE_S

_BUILT_FROM = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "nanonap", "patcher", "gosrc")
#: Of a shell in which this project, or another, is at home.
_AT_HOME = ("VIRTUAL_ENV", "PYTHONPATH", "XDG_CACHE_HOME", TYPED)


@dataclass(frozen=True)
class Installed:
    """An environment with nanonap in it, and what that needs."""

    venv: Path

    @property
    def packages(self) -> Path:
        """Where packages are installed."""
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.venv)}))

    @property
    def added(self) -> set[str]:
        """The names of what is installed there, packages and their metadata."""
        return {each.name for each in self.packages.iterdir()}

    def run(
        self, *words: str | Path, cwd: Path, home: Path, timeout: float = PATIENCE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, ``nanonap`` among them, in a folder, by a user whose home is another."""
        environment = {name: value for name, value in os.environ.items() if name not in _AT_HOME}
        environment |= {"HOME": str(home), "PATH": f"{self.venv / 'bin'}:{environment['PATH']}"}
        return subprocess.run(
            [str(each) for each in words], cwd=cwd, env=environment, capture_output=True, text=True, check=False,
            timeout=timeout,
        )  # fmt: skip


def build_wheel(folder: Path) -> Path:
    """The wheel, built without a network from a copy of what it is made of."""
    for name in _BUILT_FROM:
        source = PROJECT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / name)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder / "out", folder)
    [wheel] = (folder / "out").glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path, extra: str = "", *options: str) -> Installed:
    """A new environment under ``folder`` with the wheel, and what it needs in the versions that the project pins.

    ``options`` are pip's, which is not in the environment.
    """
    installed = Installed(folder / "venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", installed.venv], check=True)
    pins = folder / "pins"
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    pins.write_text("\n".join(re.findall(r"^[\w.-]+==[^ ;]+", lock, re.MULTILINE)))
    _pip("--python", installed.venv / "bin" / "python", "install", *options, "--constraint", pins, f"{wheel}{extra}")
    return installed


def _pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
