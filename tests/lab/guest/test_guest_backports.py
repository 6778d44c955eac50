"""The guest with the kernel of Debian's backports: newer than the release's, and limiting as it does."""

from collections.abc import Iterator

import pytest

from nanonap.lab.guest.backend import GuestBackportsBackend
from nanonap.lab.quota.limits import Limits, parse_quota
from tests.lab.guest.conftest import booted
from tests.lab.guest.inside import burn, run


@pytest.fixture
def backports_guest(what_a_guest_needs: None) -> Iterator[GuestBackportsBackend]:
    yield from booted(GuestBackportsBackend)


def test_it_is_the_same_system_on_a_newer_kernel_which_throttles_and_counts(
    backports_guest: GuestBackportsBackend,
) -> None:
    facts = backports_guest.facts()
    major, minor, *_ = str(facts["kernel"]).split(".")
    assert (int(major), int(minor)) > (6, 1)
    assert facts["cgroup"] == "v2"
    assert run(backports_guest, "cat", "/etc/debian_version").stdout.startswith("12.")
    assert "is not loaded" not in backports_guest.machine.console
    with backports_guest.open(Limits(parse_quota("50%"))) as group:
        used = burn(group)
    assert used.nr_periods >= used.nr_throttled > 0
    assert used.throttled_ns > 0
