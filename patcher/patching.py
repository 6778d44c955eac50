"""The patch itself: from a path to a proven file with its manifest."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanonap.errors import UsageError
from nanonap.files import beside_all
from patcher import record
from patcher.buildinfo import UNKNOWN
from patcher.content import check_file
from patcher.edit import Edit, Plan
from patcher.errors import FakeTime, ProofFailed, ShapeMismatch, ThreadCost, UnsupportedGo
from patcher.facts import FileFacts
from patcher.functions import Functions
from patcher.image import GoImage, read_image
from patcher.isolation import check_address_space, isolated
from patcher.manifest import Manifest, describe_go, from_json, path_of
from patcher.proof import Proof, prove
from patcher.recognise import refuse_patched
from patcher.rewrite import (
    check_difference,
    check_edits,
    check_output,
    copy_attributes,
    facts_with,
    write_bytes,
    write_edited,
)
from patcher.room import Room
from patcher.strategies import netpoll, slack, sleep, usleep
from patcher.syscalls import EPOLL_WAITS
from patcher.wait import PRECISE, Wait, check_wait

STRATEGIES = {module.NAME: module for module in (netpoll, sleep, usleep, slack)}
DEFAULT_STRATEGY = netpoll.NAME
UNDO_RECORD = "the undo record: reverts the patch where its manifest is lost"


@dataclass(frozen=True)
class Patched:
    """A written patch: the output, its manifest, and what could not be kept of the input's attributes."""

    out: Path
    manifest: Manifest
    warnings: tuple[str, ...]


def patch(
    binary: Path,
    out: Path,
    strategy: str = DEFAULT_STRATEGY,
    *,
    slack_ns: int | None = None,
    quantum_ns: int | None = None,
    dense_ns: int | None = None,
    spin_ns: int | None = None,
    accept_thread_cost: bool = False,
    force: bool = False,
) -> Patched:
    """Patch ``binary`` into ``out`` with a manifest beside it; nothing is written unless every proof holds.

    ``quantum_ns``, ``dense_ns`` and ``spin_ns`` are opt-ins of netpoll's: see patcher/wait.py.
    Raises a subclass of NanonapError that says what is wrong and what to do.
    """
    wait = Wait(quantum_ns, dense_ns, spin_ns)
    check_options(strategy, slack_ns, wait)
    check_file(binary)
    manifest_path = path_of(out)
    check_output(binary, out, force)
    check_output(binary, manifest_path, force)
    if strategy == sleep.NAME and not accept_thread_cost:
        raise ThreadCost(
            f"{binary}: strategy sleep holds one OS thread for every sleeping goroutine; "
            "use netpoll, or accept it with --accept-thread-cost"
        )
    manifest = from_json(
        isolated(binary, f"{__name__}:planned", strategy=strategy, slack_ns=slack_ns, **wait.to_json())
    )
    with beside_all(manifest_path, out) as (beside_manifest, temporary):
        write_edited(binary, temporary, manifest.input, manifest.edits, out)
        check_difference(temporary, binary, manifest.edits)
        warnings = copy_attributes(binary, temporary)
        write_bytes(beside_manifest, manifest.text().encode(), out)
        beside_manifest.chmod(0o644)
    return Patched(out, manifest, tuple(warnings))


def planned(binary: Path, strategy: str, slack_ns: int | None, **wait: int | None) -> dict[str, Any]:
    """The manifest's document of a patch that is yet to be written: the job of ``patch`` in the child process."""
    return make_manifest(read_image(binary), strategy, slack_ns, Wait(**wait))[0].to_json()


def default_output(binary: Path, strategy: str, slack_ns: int | None, wait: Wait = PRECISE) -> Path:
    """Where a patch goes that was not told: beside its input, ``service.netpoll+slack1+quantum500000``."""
    return binary.parent / (f"{binary.name}.{strategy}" + (f"+slack{slack_ns}" if slack_ns else "") + wait.suffix)


def check_options(strategy: str, slack_ns: int | None, wait: Wait = PRECISE) -> None:
    """Raises UsageError for an unknown strategy, a slack that is none, or options that the strategy does not have."""
    if strategy not in STRATEGIES:
        raise UsageError(f"--strategy {strategy}: unknown; choose one of {', '.join(STRATEGIES)}")
    if slack_ns is not None and not 1 <= slack_ns <= slack.MOST_NS:
        raise UsageError(
            f"--slack-ns {slack_ns}: must be at least 1 (the kernel takes 0 for “back to the default”) and "
            f"at most {slack.MOST_NS}; leave the option out to keep the slack"
        )
    if strategy == slack.NAME and slack_ns is None:
        raise UsageError("--strategy slack sets the timer slack: say how much with --slack-ns N (N ≥ 1)")
    check_wait(strategy, wait)


def make_manifest(
    image: GoImage, strategy: str, slack_ns: int | None, wait: Wait = PRECISE
) -> tuple[Manifest, tuple[Edit, ...]]:
    """Plan, prove and describe a patch without writing it."""
    functions = Functions(image)
    room = Room(image)
    with ThreadPoolExecutor(1) as beside, _naming(image.path):
        hashed = beside.submit(FileFacts.of, image.data)  # hashlib and Unicorn both let go of the interpreter's lock
        refuse_unfit(functions)
        plans = make_plans(functions, strategy, slack_ns, room, wait)
        check_address_space()
        proofs = [prove(functions, each, slack_ns, wait) for each in plans]
    source = hashed.result()
    edits = tuple(edit for each in plans for edit in each.edits)
    carried = room.place_record(
        UNDO_RECORD, lambda grown: record.encode(strategy, slack_ns, source, (*edits, *grown), wait)
    )
    edits += (carried, *room.growth()) if carried else room.growth()
    check_edits(image, edits)
    manifest = Manifest(
        strategy=strategy,
        slack_ns=slack_ns,
        wait=wait,
        go=describe_go(image),
        input=source,
        output=facts_with(image.data, edits),
        edits=edits,
        new_syscalls=tuple(name for each in plans for name in each.new_syscalls),
        proof=Proof(sum(each.cases for each in proofs), sum(each.passed for each in proofs)),
    )
    return manifest, edits


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name before what a strategy or proof says, which knows functions and addresses."""
    try:
        yield
    except (ShapeMismatch, ProofFailed) as error:
        if str(error).startswith(str(path)):
            raise
        raise type(error)(f"{path}: {error}") from error


def refuse_unfit(functions: Functions) -> None:
    """Refuse what no strategy may touch: our own patches, simulated clocks, plugins, releases before Go 1.19."""
    image = functions.image
    refuse_patched(functions)
    if "faketime" in image.build.tags:
        raise FakeTime(f"{image.path}: built with the faketime tag; its clock is simulated, there is nothing to mend")
    if image.build.release != (0, 0) and image.build.release < (1, 19):
        raise UnsupportedGo(f"{image.path}: built by {image.build.version}; Go 1.19 and later can be patched")
    if image.build == UNKNOWN:
        _refuse_unknown(functions)
    if image.build.settings.get("-buildmode") == "plugin":
        raise UnsupportedGo(
            f"{image.path}: a plugin; the scheduler that waits is that of the program that loads it: patch that program"
        )


def _refuse_unknown(functions: Functions) -> None:
    """Without build information the runtime itself must show what it was built for."""
    image = functions.image
    if image.data.find(b"runtime/time_fake.go\0") != -1:  # the file that the faketime tag compiles
        raise FakeTime(f"{image.path}: its runtime has a simulated clock (runtime/time_fake.go)")
    if not any(functions.all(name) for name in EPOLL_WAITS):
        raise UnsupportedGo(
            f"{image.path}: no build information says for which system it was built, and its runtime has no epoll"
        )


def make_plans(
    functions: Functions, strategy: str, slack_ns: int | None, room: Room, wait: Wait = PRECISE
) -> tuple[Plan, ...]:
    """The strategy's plan, and the slack's where one is asked for; ``room`` knows afterwards what they use."""
    own = {
        netpoll.NAME: lambda: netpoll.plan(functions, room, wait),
        sleep.NAME: lambda: sleep.plan(functions, room),
        usleep.NAME: lambda: usleep.plan(functions, room),
    }
    plans = [own[strategy]()] if strategy in own else []
    if slack_ns is not None:
        plans.append(slack.plan(functions, room, slack_ns))
    return tuple(plans)
