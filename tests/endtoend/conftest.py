"""Fixtures of the tests that run patched programs."""

import resource
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.endtoend.survivors import STOCK, Survivor, Survivors, build_survive, patch_survive
from toolchain.wheels import DEFAULT_GO


@pytest.fixture(scope="session")
def survivors(tmp_path_factory: pytest.TempPathFactory) -> Survivors:
    """The program of a variant, patched once in each worker."""
    folder = tmp_path_factory.mktemp("survivors")

    @cache
    def made(variant: str, go: str, mode: str) -> Survivor:
        stock: Path = build_survive(go, mode)
        if variant == STOCK:
            return Survivor(stock, None)
        own = folder / go / mode
        own.mkdir(parents=True, exist_ok=True)
        return patch_survive(stock, variant, own)

    def give(variant: str, go: str = DEFAULT_GO, mode: str = "default") -> Survivor:
        return made(variant, go, mode)

    return give


@pytest.fixture(autouse=True)
def no_core_file() -> Iterator[None]:
    """Programs end by SIGABRT here: leave no core file behind."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
