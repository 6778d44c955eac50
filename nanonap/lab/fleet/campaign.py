"""Jobs on the hosts of a fleet, one at a time on each: begun at most once, and fetched whatever was lost meanwhile."""

import re
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distributed import Client, Future
from rich.markup import escape

from nanonap.base.terminal import messages
from nanonap.lab.fleet import hosted
from nanonap.lab.fleet.client import (
    Fleet,
    addresses,
    ask,
    back,
    check_same,
    dashboard_of,
    described,
    measuring,
    show_dashboard,
)
from nanonap.lab.fleet.hosted import Described
from nanonap.lab.fleet.jobs import BENCH, Answer, Asked
from nanonap.lab.fleet.serving import KEY
from nanonap.lab.fleet.settings import RESOURCE
from nanonap.lab.plan.arms import sha256_of
from nanonap.lab.quota.choose import backend_class
from nanonap.toolchain.progress import progress_bar
from nanonap.toolchain.targets import TARGETS, Target

#: A host that is away for longer is missing; shorter than the lease of its job.
AWAY_S = 300.0
_POLL_S = 0.25
_FETCH_S = 120
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Wanted:
    """A job for a host, ``what`` in words; ``function`` and ``options`` as Asked's.

    ``tree``: the files that it runs, place in the job's folder → file here.
    """

    host: str
    what: str
    options: dict[str, Any]
    tree: dict[str, Path]
    function: str = BENCH


@dataclass
class _Ordered:
    """A job that a host has: its task now, and how often it was taken over from another."""

    wanted: Wanted
    asked: Asked
    future: Future[Answer]
    adopted: int = 0


@dataclass(frozen=True)
class Ended:
    """How a job ended, or was lost, and how often it was taken over meanwhile."""

    wanted: Wanted
    answer: Answer
    adopted: int = 0

    @property
    def problem(self) -> str | None:
        """Why there is no result; None where there is one."""
        if self.answer.bundle is not None:
            return None
        said = self.answer.error.strip().splitlines()
        return self.answer.lost or f"status {self.answer.status}: {said[-1] if said else 'it said nothing'}"


@dataclass
class Members:
    """Who measures in a fleet, by name, and who cannot, with the reason."""

    hosts: dict[str, Described]
    missing: dict[str, str] = field(default_factory=dict)

    def target(self, name: str, backend: str) -> Target:
        """What is measured on that host: programs of its own, or of a machine that it boots."""
        kind = backend_class(backend)
        return kind.target if kind.own_kernel else _targets()[str(self.hosts[name].facts["arch"])]


def members(client: Client, hosts: list[str] | None = None) -> Members:
    """Of ``hosts`` only, where given. Raises FleetUnreachable, FleetDiffers."""
    there = described(client)
    able = measuring(client)
    there = [each for each in there if each.name in able and (hosts is None or each.name in hosts)]
    check_same(there)
    names = {each.name for each in there}
    missing = {name: "it is not in the fleet" for name in hosts or () if name not in names}
    missing |= {each.name: why for each in there if (why := _unfit(each)) is not None}
    return Members({each.name: each for each in there if each.name not in missing}, missing)


def _targets() -> dict[str, Target]:
    return {each.machine: each for each in TARGETS.values()}


def _unfit(host: Described) -> str | None:
    """Why nothing can be measured there: no programs for it, or a name that cannot be a file's."""
    if host.facts["arch"] not in _targets():
        return f"its processor is {host.facts['arch']}, and there are programs for {', '.join(_targets())}"
    return None if _NAME.fullmatch(host.name) else "its name is no name; start its worker with --name"


class Campaign:
    """What is wanted of some hosts; ``answers`` does it."""

    def __init__(self, fleet: Fleet, client: Client, wanted: Sequence[Wanted], away_s: float = AWAY_S) -> None:
        """Nothing is sent yet. ``away_s``: how long a host may be lost."""
        self.client = client
        self._fleet, self._wanted, self._away_s = fleet, wanted, away_s
        self._stamp = f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(3)}"
        self._waiting: dict[str, deque[tuple[int, Wanted]]] = {}
        for number, each in enumerate(wanted):
            self._waiting.setdefault(each.host, deque()).append((number, each))
        self._ordered: dict[str, _Ordered] = {}

    def answers(self) -> Iterator[Ended]:
        """Send each host what it lacks, and its jobs one after the other; what came of each, as they end.

        Raises FleetUnreachable.
        """
        hashes = {path: sha256_of(path) for path in {path for each in self._wanted for path in each.tree.values()}}
        self._send(hashes)
        show_dashboard(self.client.run_on_scheduler(dashboard_of))
        with progress_bar() as bar:
            task = bar.add_task("measured", total=len(self._wanted))
            while self._waiting or self._ordered:
                for host in [each for each in self._waiting if each not in self._ordered]:
                    yield from self._begin(host, hashes)
                for host, each in list(self._ordered.items()):
                    if each.future.status != "pending":
                        yield from self._settle(host, each)
                left = sum(map(len, self._waiting.values())) + len(self._ordered)
                bar.update(task, completed=len(self._wanted) - left)
                time.sleep(_POLL_S)

    def _send(self, hashes: dict[Path, str]) -> None:
        known = addresses(self.client)
        for host in self._waiting:
            paths = {path for each in self._wanted if each.host == host for path in each.tree.values()}
            files = {hashes[path]: path for path in paths}
            [lacking] = ask(self.client, hosted.missing, list(files), workers=[known[host]]).values()
            for sha256 in lacking:
                ask(self.client, hosted.put, sha256, files[sha256].read_bytes(), workers=[known[host]])

    def _begin(self, host: str, hashes: dict[Path, str]) -> Iterator[Ended]:
        """Order a host's next job; the ends of all that it waits for, if it is gone."""
        address = self._back(host)
        if address is None:
            yield from self._lost(self._waiting.pop(host))
            return
        number, wanted = self._waiting[host].popleft()
        if not self._waiting[host]:
            del self._waiting[host]
        tree = {place: hashes[path] for place, path in wanted.tree.items()}
        asked = Asked(f"{self._stamp}-{number}-{host}", wanted.options, tree, function=wanted.function)
        self._ordered[host] = _Ordered(wanted, asked, self._submit(asked, address, 0))

    def _submit(self, asked: Asked, address: str, attempt: int) -> Future[Answer]:
        return self.client.submit(
            hosted.measure, asked, key=f"{KEY}{asked.number} {attempt}", workers=[address], allow_other_workers=False,
            resources={RESOURCE: 1}, retries=0, pure=False,
        )  # fmt: skip

    def _settle(self, host: str, ordered: _Ordered) -> Iterator[Ended]:
        """A job's end, after which the host's copy may go; the job is taken over where no result could be had."""
        if ordered.future.status == "finished":
            try:
                answer = ordered.future.result(timeout=_FETCH_S)
            except Exception as error:
                self._say(f"{host}: its result was lost on the way ({type(error).__name__}); it is asked again")
            else:
                yield Ended(ordered.wanted, answer, ordered.adopted)
                del self._ordered[host]
                ordered.future.release()
                return
        yield from self._adopt(host, ordered)

    def _adopt(self, host: str, ordered: _Ordered) -> Iterator[Ended]:
        """Order that the job be followed on, as soon as a worker of that name is there; else all it had is lost."""
        self._say(f"{host}: lost; what it has measured is fetched when it is back")
        address = self._back(host)
        if address is None:
            del self._ordered[host]
            yield from self._lost([(0, ordered.wanted), *self._waiting.pop(host, ())])
            return
        ordered.adopted += 1
        ordered.asked = replace(ordered.asked, adopt=True)
        ordered.future = self._submit(ordered.asked, address, ordered.adopted)

    def _lost(self, wanted: Iterable[tuple[int, Wanted]]) -> Iterator[Ended]:
        why = f"it was lost, and not back within {self._away_s:.0f} s"
        yield from (Ended(each, Answer(None, "", None, True, why)) for _, each in wanted)

    def _back(self, host: str) -> str | None:
        self.client, address = back(self._fleet, self.client, host, time.monotonic() + self._away_s)
        return address

    def stop(self) -> None:
        """Let all jobs go that have no result yet, which ends them."""
        for each in self._ordered.values():
            each.future.release()

    def _say(self, text: str) -> None:
        messages().print(f"[yellow]note[/] {escape(text)}", highlight=False)
