"""The FIPS 140-3 module checks its own code and data at the start; a patched program passes that check.

crypto/internal/fips140/check compares a hash of the module's sections with one that the linker recorded. No strategy
changes them: the runtime lies outside.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

import patcher
from nanonap.toolchain.build import build_one
from nanonap.toolchain.modes import Mode
from nanonap.toolchain.patched import VARIANTS, Variant
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.wheels import WHEELS
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from tests.soon import soon

_ALL = [each for each in WHEELS if tuple(map(int, each.split(".")[:2])) >= (1, 24)]
RELEASES = [_ALL[0], _ALL[-1]]  # the first that checks itself, and the newest
# The module as in the release's own source, frozen for certification, and in a PIE (go.dev/doc/security/fips140).
MODES = {
    mode.name: mode
    for mode in (
        Mode("default"),
        Mode("latest", environment={"GOFIPS140": "latest"}),
        Mode("v1.0.0", environment={"GOFIPS140": "v1.0.0"}),
        Mode("pie", flags=("-buildmode=pie",)),
        Mode("pie-latest", flags=("-buildmode=pie",), environment={"GOFIPS140": "latest"}),
    )
}


def build_fips(folder: Path, go: str, mode: str) -> Path:
    return build_one(release_toolchain(go), MODES[mode], "fips", folder).path


def run(program: Path) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | {"GODEBUG": "fips140=on"}
    return subprocess.run([program], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fips")


CASES = [
    (mode, variant) for mode in MODES for variant in VARIANTS if mode == "default" or variant.name == "netpoll+slack1"
]


@pytest.mark.parametrize(("mode", "variant"), CASES, ids=lambda each: each if isinstance(each, str) else each.name)
@pytest.mark.parametrize("go", soon(RELEASES, -1, long=()))
def test_a_patched_program_passes_the_self_check(folder: Path, go: str, mode: str, variant: Variant) -> None:
    program = build_fips(folder, go, mode)
    out = folder / f"{go}-{mode}.{variant.name}"
    patcher.patch(program, out, variant.strategy, **variant.options, accept_thread_cost=True)
    answer = run(out)
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert said["enabled"]
    assert said["right"]
    assert said["slept_ns"] >= 1_000_000


@pytest.mark.parametrize("go", soon(RELEASES, -1, long=()))
def test_the_self_check_can_fail(folder: Path, go: str) -> None:
    program = build_fips(folder, go, "default")
    data = bytearray(program.read_bytes())
    data[offset_in_module(program)] ^= 0xFF
    wrong = folder / f"{go}.wrong"
    wrong.write_bytes(data)
    wrong.chmod(0o755)
    answer = run(wrong)
    assert answer.returncode != 0
    assert "fips140: verification mismatch" in answer.stderr


def offset_in_module(program: Path) -> int:
    """The file offset of a byte of the module's code that is never run: the filling behind a function."""
    image = read_image(program)
    return image.offset_of(Functions(image).all("crypto/internal/fips140/aes/gcm.(*GCM).Open")[0].end - 1)
