"""The patch itself: from a path to a proven file with its manifest."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nanonap.base.errors import UsageError
from nanonap.base.files import beside_all
from patcher import begun, record
from patcher.answers import WrongShape
from patcher.edit.edit import Edit
from patcher.edit.room import GROWS_ALONE, Room
from patcher.errors import ManifestMismatch, ThreadCost
from patcher.file import elf_check
from patcher.file.content import check_file
from patcher.file.facts import FileFacts
from patcher.golang.functions import Functions
from patcher.golang.image import read_image, read_twice
from patcher.golang.seccomp import Filters, find_filters
from patcher.golang.waits import find_waits
from patcher.isa.table import HERE
from patcher.isolation import NOTHING, Job, both_isolated, unlikely
from patcher.manifest import Manifest, checked, describe_go, path_of
from patcher.planning import fit_plans, prove_plans, refuse_unfit
from patcher.rewrite import (
    Copy,
    apply,
    check_edits,
    check_output,
    copy_attributes,
    facts_with,
    other_names,
    write_bytes,
)
from patcher.source import AnyPath, Content, Readable, name_of, readable
from patcher.strategies.strategy import MOST_NS, Options
from patcher.strategies.table import DEFAULT_STRATEGY, STRATEGIES
from patcher.wait import PRECISE, Wait

_SECOND_READING = f"{read_twice.__module__}:{read_twice.__name__}"
_PLANNING = f"{__name__}:planned"
_read_before: dict[Path, Functions] = {}  # of a child that was begun before it was asked
UNDO_RECORD = "the undo record: reverts the patch where its manifest is lost"


@dataclass(frozen=True)
class Patched:
    """A written patch: the output, its manifest, and what could not be kept or may be lost later.

    ``filters``: what shows that the program may set a system call filter itself.
    """

    out: Path
    manifest: Manifest
    warnings: tuple[str, ...]
    filters: Filters


@dataclass(frozen=True)
class PatchedBytes:
    """A patched program that is yet to be written: its content, and as ``Patched``."""

    content: bytes
    manifest: Manifest
    filters: Filters


def patch(
    binary: AnyPath,
    out: AnyPath | None = None,
    strategy: str = DEFAULT_STRATEGY,
    *,
    slack_ns: int | None = None,
    wait: Wait = PRECISE,
    accept_thread_cost: bool = False,
    force: bool = False,
) -> Patched:
    """Patch ``binary`` into ``out`` with a manifest beside it; neither is there unless every proof holds.

    ``out`` is by default beside the input, named after the patch: ``service.netpoll+slack1``. ``slack_ns``: also set
    the timer slack, in ns, at the program's entry. ``wait``: opt-ins of netpoll's. ``accept_thread_cost``: strategy
    sleep holds a thread for every sleeping goroutine. ``force``: overwrite ``out`` and its manifest.
    Raises a subclass of NanonapError that says what is wrong and what to do.
    """
    binary = Path(binary)
    check_asked(str(binary), strategy, slack_ns, wait, accept_thread_cost)
    check_file(binary)
    out = check_output(binary, _default_output(binary, strategy, slack_ns, wait) if out is None else Path(out), force)
    manifest_path = check_output(binary, path_of(out), force)
    with beside_all(manifest_path, out, replace=force) as (beside_manifest, temporary):
        copy = Copy(binary, temporary)
        plan = _plan(Readable(binary), strategy, slack_ns, wait, copy)
        manifest = plan.manifest
        edits = manifest.edits
        copy.edit(manifest.input, [each.done for each in edits], out, replaced=[each.undone for each in edits])
        warnings = copy_attributes(binary, temporary) + other_names(out, "what was there")
        write_bytes(beside_manifest, manifest.text().encode(), out)
        beside_manifest.chmod(0o644)
    warnings += [each.purpose for each in manifest.edits if each.purpose in GROWS_ALONE.values()]
    return Patched(out, manifest, tuple(warnings), plan.filters)


def begin(path: Path | None = None) -> None:
    """Make the children that read headers a second time and that plan, before it is known of which file: they load
    their libraries meanwhile, and the one that plans reads ``path``, which will be meant, most likely.

    For a process of one thread, which is about to call ``patch``; nothing where there can be no child.
    """
    with contextlib.suppress(OSError):
        begun.begin(_SECOND_READING, elf_check.load)
        begun.begin(_PLANNING, partial(_prepare, path), path)


def _prepare(path: Path | None) -> None:
    from patcher import proving  # noqa: F401, PLC0415 - in the child process alone, with the emulator

    HERE.assemble("nop", 0)  # which is decoded again
    if path is not None:
        functions = Functions(read_image(path))
        with ThreadPoolExecutor(1) as beside:
            beside.submit(functions.once, _facts)
            refuse_unfit(functions)
            find_waits(functions)
            find_filters(functions)
        _read_before[path] = functions


def patch_bytes(
    program: Content,
    strategy: str = DEFAULT_STRATEGY,
    *,
    slack_ns: int | None = None,
    wait: Wait = PRECISE,
    accept_thread_cost: bool = False,
    name: str | None = None,
) -> PatchedBytes:
    """The same of a program's content, or of a binary file that is open: nothing is written.

    Errors call it ``name``. Raises as ``patch``; ManifestMismatch where the file changes meanwhile.
    """
    name = name or name_of(program)
    check_asked(name, strategy, slack_ns, wait, accept_thread_cost)
    with readable(program, name) as source:
        plan = _plan(source, strategy, slack_ns, wait)
        content = apply(source.path.read_bytes(), plan.manifest.edits)
    if FileFacts.of(content) != plan.manifest.output:
        raise ManifestMismatch(f"{name}: the file changed while it was read; try again")
    return PatchedBytes(content, plan.manifest, plan.filters)


def plan_patch(
    program: Content,
    strategy: str = DEFAULT_STRATEGY,
    *,
    slack_ns: int | None = None,
    wait: Wait = PRECISE,
    accept_thread_cost: bool = False,
    name: str,
) -> "Planned":
    """As ``patch_bytes``, but what is to be changed alone."""
    check_asked(name, strategy, slack_ns, wait, accept_thread_cost)
    with readable(program, name) as source:
        return _plan(source, strategy, slack_ns, wait)


def check_asked(name: str, strategy: str, slack_ns: int | None, wait: Wait, accept_thread_cost: bool) -> None:
    """Raises UsageError for what cannot be asked for, ThreadCost for what has to be accepted first."""
    check_options(strategy, slack_ns, wait)
    cost = STRATEGIES[strategy].cost
    if cost is not None and not accept_thread_cost:
        raise ThreadCost(
            f"{name}: strategy {strategy} {cost}; use {DEFAULT_STRATEGY}, or accept this cost",
            parameters=("accept_thread_cost",),
        )


def _plan(
    source: Readable,
    strategy: str,
    slack_ns: int | None,
    wait: Wait,
    meanwhile: contextlib.AbstractContextManager[object] = NOTHING,
) -> "Planned":
    """What the child plans. Raises InternalFault for what was not asked for, or cannot be laid over the file."""
    asked: dict[str, object] = {"strategy": strategy, "slack_ns": slack_ns, **wait.to_json()}
    _, plan = both_isolated(
        source.path,
        Job(_SECOND_READING, bool),
        Job(_PLANNING, Planned, asked),
        keep=source.keep,
        meanwhile=meanwhile,
    )
    manifest = plan.manifest
    try:
        if (manifest.strategy, manifest.slack_ns, manifest.wait) != (strategy, slack_ns, wait):
            raise WrongShape("another patch than was asked for")
        checked(manifest)
    except WrongShape as error:
        raise unlikely(source.path, error) from error
    return plan


@dataclass(frozen=True)
class Planned:
    """The manifest of a patch that is yet to be written, and what shows that the program may set a filter itself."""

    manifest: Manifest
    filters: Filters


def planned(binary: Path, strategy: str, slack_ns: int | None, **wait: int | None) -> Planned:
    """The manifest of a patch that is yet to be written, and the program's filters: a child process's job, beside
    another, which has the headers read a second time.
    """
    functions = _read_before.pop(binary, None) or Functions(read_image(binary))
    manifest, _ = make_manifest(functions, strategy, slack_ns, Wait(**wait))
    return Planned(manifest, find_filters(functions))


def _facts(functions: Functions) -> FileFacts:
    return FileFacts.of(functions.image.data)


def _default_output(binary: Path, strategy: str, slack_ns: int | None, wait: Wait) -> Path:
    """Where a patch goes that was not told: beside its input, ``service.netpoll+slack1+quantum500000``."""
    return binary.parent / (f"{binary.name}.{strategy}" + (f"+slack{slack_ns}" if slack_ns else "") + wait.suffix)


def check_options(strategy: str, slack_ns: int | None, wait: Wait = PRECISE) -> None:
    """Raises UsageError for an unknown strategy, a slack that is none, or options that the strategy does not have."""
    if strategy not in STRATEGIES:
        raise UsageError(
            f"strategy {strategy}: unknown; choose one of {', '.join(STRATEGIES)}", parameters=("strategy",)
        )
    if slack_ns is not None and not 1 <= slack_ns <= MOST_NS:
        raise UsageError(
            f"a timer slack of {slack_ns} ns: must be at least 1 (the kernel takes 0 for “back to the default”) and "
            f"at most {MOST_NS}; give none to keep the slack",
            parameters=("slack_ns",),
        )
    STRATEGIES[strategy].check(Options(slack_ns, wait))


def make_manifest(
    functions: Functions, strategy: str, slack_ns: int | None, wait: Wait = PRECISE
) -> tuple[Manifest, tuple[Edit, ...]]:
    """Plan, prove and describe a patch without writing it."""
    image = functions.image
    room, options = Room(image), Options(slack_ns, wait)
    with ThreadPoolExecutor(1) as beside:  # hashlib and Unicorn both let go of the interpreter's lock
        hashed = beside.submit(functions.once, _facts)
        plans = fit_plans(functions, strategy, room, options)
        source = hashed.result()
        edits = tuple(edit for each in plans for edit in each.edits)
        carried = room.place_record(
            UNDO_RECORD, lambda grown: record.encode(strategy, slack_ns, source, (*edits, *grown), wait)
        )
        edits += (carried, *room.growth()) if carried else room.growth()
        output = beside.submit(facts_with, image.data, [each.done for each in edits])
        proof = prove_plans(functions, plans, options)
    check_edits(image, edits)
    manifest = Manifest(
        strategy=strategy,
        slack_ns=slack_ns,
        wait=wait,
        go=describe_go(image),
        input=source,
        output=output.result(),
        edits=edits,
        new_syscalls=tuple(name for each in plans for name in each.new_syscalls),
        proof=proof,
    )
    return manifest, edits
