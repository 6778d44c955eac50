"""This side of a fleet: find the scheduler, who is there, and whether all are of one version."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client, Scheduler

from nanonap.base.terminal import messages
from nanonap.lab.fleet import hosted
from nanonap.lab.fleet.errors import FleetDiffers, FleetUnreachable
from nanonap.lab.fleet.hosted import Described
from nanonap.lab.fleet.settings import RESOURCE, security

_CONNECT_S, _ASK_S = 10.0, 30.0


@dataclass(frozen=True)
class Fleet:
    """A scheduler; ``keys``: the folder of the certificates; ``private``: none are needed on the way there."""

    address: str
    keys: Path | None = None
    private: bool = False

    def connect(self, timeout_s: float = _CONNECT_S) -> Client:
        """A client of the scheduler. Raises FleetUnreachable."""
        trusted = security(self.keys, "client", private=self.private)
        try:
            return Client(self.address, security=trusted, timeout=timeout_s, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FleetUnreachable(f"{self.address}: no scheduler answers there ({why})") from error


@contextlib.contextmanager
def connected(fleet: Fleet) -> Iterator[Client]:
    """A client, closed at the end. Raises FleetUnreachable."""
    client = fleet.connect()
    try:
        yield client
    finally:
        close(client)


def close(client: Client) -> None:
    """Take leave of the scheduler, if it is still there."""
    with contextlib.suppress(Exception):  # whatever it is, the client is of no use any more
        client.close(timeout=1)


def addresses(client: Client) -> dict[str, str]:
    """The workers' names → their addresses."""
    return {name: address for name, address, _ in client.run_on_scheduler(_workers)}


def measuring(client: Client) -> dict[str, str]:
    """The same of those that measure."""
    return {name: address for name, address, measures in client.run_on_scheduler(_workers) if measures}


def _workers(dask_scheduler: Scheduler) -> list[tuple[str, str, bool]]:
    """On the scheduler, under the name that Dask gives it."""
    return [(str(each.name), where, RESOURCE in each.resources) for where, each in dask_scheduler.workers.items()]


def dashboard_of(dask_scheduler: Scheduler) -> str | None:
    """On the scheduler, under the name that Dask gives it: where its dashboard is to be seen, if it has one."""
    if not dask_scheduler.http_application.applications:
        return None
    return f"http://127.0.0.1:{dask_scheduler.service_ports['dashboard']}/status"


def show_dashboard(link: str | None) -> None:
    """On stderr, where there is one."""
    if link is not None:
        messages().print(f"dashboard, on the scheduler's machine: {link}", highlight=False)


def ask(client: Client, function: Any, *words: Any, workers: list[str]) -> dict[str, Any]:  # noqa: ANN401 - any task
    """What a function of ``hosted`` answers on these workers, at once, beside what they do: address → answer.

    Raises FleetUnreachable, naming a worker on which it failed.
    """
    found = client.run(function, *words, workers=workers, on_error="return")
    for address, answer in found.items():
        if isinstance(answer, BaseException):
            raise FleetUnreachable(f"{address}: {function.__name__} failed there ({answer!r}): is it a nanonap worker?")
    return dict(found)


def described(client: Client) -> list[Described]:
    """The hosts that are there, by their names. Raises FleetUnreachable where there is none."""
    known = addresses(client)
    if not known:
        raise FleetUnreachable("the fleet has no worker; `nanonap fleet worker` starts one")
    found = [ask(client, hosted.describe, name, workers=[address])[address] for name, address in sorted(known.items())]
    return list(found)


def check_same(hosts: list[Described]) -> None:
    """Raises FleetDiffers, with the list of what differs where."""
    here = hosted.versions()
    differing = [
        f"{host.name}: {name} {host.versions.get(name)} (here {value})"
        for host in hosts
        for name, value in here.items()
        if host.versions.get(name) != value
    ]
    if differing:
        raise FleetDiffers(f"these hosts are not of one version with this one: {'; '.join(differing)}")


def back(fleet: Fleet, client: Client, name: str, until: float) -> tuple[Client, str | None]:
    """(a client that is connected, the address of the worker of that name), when both are there again; else None."""
    while True:
        with contextlib.suppress(Exception):  # the scheduler may be gone, or go, at any step
            if client.status != "running":
                close(client)
                client = fleet.connect(timeout_s=3)
            known = addresses(client)
            if name in known:
                return client, known[name]
        if time.monotonic() > until:
            return client, None
        time.sleep(0.5)
