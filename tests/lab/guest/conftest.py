"""One guest of each kind for all tests; where something is missing, they say what and the command that gives it."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.guest.backend import GuestBackend, GuestDockerBackend, GuestSystemdBackend
from nanonap.lab.guest.image import check_host
from nanonap.lab.guest.other import GuestArm64Backend

Kind = TypeVar("Kind", bound=GuestBackend)


@pytest.fixture(scope="session")
def what_a_guest_needs() -> None:
    """Skip where the host lacks it."""
    try:
        check_host("guest")
    except QuotaUnavailable as missing:
        pytest.skip(f"needs a guest: {missing}")


@pytest.fixture(scope="session")
def arm64_guest(what_an_arm64_guest_needs: None) -> GuestArm64Backend:
    """The backend, ready: each of its commands is a boot."""
    backend = GuestArm64Backend()
    backend.prepare()
    return backend


@pytest.fixture(scope="session")
def guest(what_a_guest_needs: None) -> Iterator[GuestBackend]:
    """A booted guest with cgroup v2."""
    yield from booted(GuestBackend)


@pytest.fixture(scope="session")
def systemd_guest(what_a_guest_needs: None) -> Iterator[GuestSystemdBackend]:
    """A booted guest with systemd."""
    yield from booted(GuestSystemdBackend)


@pytest.fixture(scope="session")
def docker_guest(what_a_guest_needs: None) -> Iterator[GuestDockerBackend]:
    """A booted guest with systemd and Docker."""
    yield from booted(GuestDockerBackend)


def booted(kind: Callable[[], Kind]) -> Iterator[Kind]:
    backend = kind()
    try:
        backend.prepare()
        yield backend
    finally:
        backend.close()
