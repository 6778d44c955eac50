"""Fixtures of the tests that run patched programs."""

import resource
from collections.abc import Iterator
from functools import cache

import pytest

from nanonap.toolchain.releases import NEWEST
from nanonap.trials.unwinding.asleep import Ended, quit_asleep
from nanonap.trials.unwinding.survivors import LIVE, STOCK, Survivor
from tests.endtoend.arms import Survivors, build_survive, inject_survive, patch_survive


@pytest.fixture(scope="session")
def survivors(tmp_path_factory: pytest.TempPathFactory) -> Survivors:
    """The program of a variant, patched once in each worker."""
    folder = tmp_path_factory.mktemp("survivors")

    @cache
    def made(variant: str, go: str) -> Survivor:
        stock = build_survive(go)
        if variant == STOCK:
            return Survivor(stock, None)
        own = folder / go / variant
        own.mkdir(parents=True)
        return inject_survive(stock, own) if variant == LIVE else patch_survive(stock, variant, own)

    def give(variant: str, go: str = NEWEST) -> Survivor:
        return made(variant, go)

    return give


@pytest.fixture
def stock_ended(survivors: Survivors, go: str) -> Ended:
    """How the stock program of a release ends when it is quit asleep."""
    return quit_asleep(survivors(STOCK, go), STOCK)


@pytest.fixture(autouse=True)
def no_core_file() -> Iterator[None]:
    """Programs end by SIGABRT here: leave no core file behind."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
