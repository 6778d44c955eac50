"""The tasks of the binary side: build, patch, inspect, verify, revert."""

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.tasks import task

from nanonap.base.errors import UsageError
from nanonap.cli import images
from nanonap.cli.shared import JSON_HELP, front_door, show_json, whole

if TYPE_CHECKING:
    from patcher.wait import Wait


@task(
    help={
        "go": "Go releases, comma-separated (default 1.27.3), or `all`, or `local` (the go on PATH)",
        "mode": "build modes, comma-separated: default, stripped, pie, pie-stripped, external, cgo, race, noopt, "
        "untrimmed, big, pgo and pgo-stripped (with a profile of the waiting runtime, Go 1.21 and later), "
        "rebuilt (its runtime waits in epoll_pwait2), upstream (the same as Go's developers plan it), "
        "wakep-queued and wakep-needed (controls of the experiment wakeup), counted-1250, counted-10000 and saved-5000 "
        "(those of the experiment bounded), or `all` (all except big and those that change the "
        "runtime). Without --mode: default, rebuilt, upstream, and slackexec, "
        "which starts programs with less timer slack",
        "go-binary": "path of a go command to use instead of a pinned toolchain",
        "arch": "the processor to build for: amd64 (default), or arm64, which `bench --backend guest-arm64` runs",
        "json": JSON_HELP,
    }
)
@front_door
def build(
    _: Context,
    go: str = "1.27.3",
    mode: str | None = None,
    go_binary: str | None = None,
    arch: str = "amd64",
    json: bool = False,
) -> None:
    """Fetch the pinned Go toolchain, build the measured program."""
    from nanonap.toolchain.build import build as build_programs
    from nanonap.toolchain.build import build_for_bench
    from nanonap.toolchain.show import show_built
    from nanonap.toolchain.targets import target_named

    binary, target = Path(go_binary) if go_binary else None, target_named(arch)
    if mode is None:
        built = build_for_bench(go, binary, target=target)
    else:
        built = build_programs(go, mode, binary, target=target)
    show_json([each.to_json() for each in built]) if json else show_built(built)


@task(
    pre=[build],
    iterable=["path"],
    help={
        "binary": "the Go binary to patch (default: every program that `build` made, with every strategy)",
        "image": images.IMAGE_HELP,
        "path": "with --image: a program by its path in there; may be repeated (default: the one that it starts)",
        "all": "with --image: every Go program in there",
        "platform": images.PLATFORM_HELP,
        "append-layer": "with --image: put the programs into a new layer on top (default: change their own layers)",
        "out": "where the patched binary goes (default: beside the input, named after the strategy); with --image, the "
        "new image: named as there, - for standard output",
        "strategy": "netpoll (default with --binary), sleep, usleep or slack",
        "quantum": "strategy netpoll: a wait shorter than this, in ns, lasts this long, so that timers that are close "
        "together share one wake-up; sleeps may end that much later (default: no rounding)",
        "dense": "with --quantum: only waits shorter than this, in ns, last a quantum; at most the quantum "
        "(default: all waits shorter than the quantum)",
        "spin": "strategy netpoll: end each wait this early, in ns, and poll until the deadline: more precise, but up "
        "to that much CPU time more per wake-up; not with --quantum (default: no spinning)",
        "slack-ns": "also set the timer slack (how late the kernel may wake a thread) when the program starts, in ns, "
        "at least 1 (default: keep it)",
        "accept-thread-cost": "strategy sleep: accept one OS thread for every sleeping goroutine",
        "force": "overwrite --out and its manifest",
        "json": JSON_HELP,
    },
)
@front_door
def patch(
    _: Context,
    binary: str | None = None,
    out: str | None = None,
    strategy: str | None = None,
    slack_ns: str | None = None,
    quantum: str | None = None,
    dense: str | None = None,
    spin: str | None = None,
    accept_thread_cost: bool = False,
    force: bool = False,
    json: bool = False,
    image: str | None = None,
    path: list[str] | None = None,
    all: bool = False,
    platform: str | None = None,
    append_layer: bool = False,
) -> None:
    """Patch Go binaries so that sleeps last what was asked."""
    from patcher.show import patched_json, show_patched

    slack, wait = _asked(slack_ns, quantum, dense, spin)
    if image is not None:
        if binary is not None:
            raise UsageError("--binary and --image exclude each other")
        images.patch(
            image,
            out,
            strategy,
            path=path or [],
            every=all,
            platform=platform,
            append_layer=append_layer,
            slack_ns=slack,
            wait=wait,
            accept_thread_cost=accept_thread_cost,
            force=force,
            json=json,
        )
        return
    if path or all or platform or append_layer:
        raise UsageError("--path, --all, --platform and --append-layer go with --image")
    if binary is None:
        from nanonap.toolchain.patched import patch_built
        from nanonap.toolchain.show import outcomes_json, show_outcomes

        outcomes = patch_built(strategy, slack, wait)
        show_json(outcomes_json(outcomes)) if json else show_outcomes(outcomes)
        return
    import patcher

    done = patcher.patch(
        binary,
        out or None,
        strategy or patcher.DEFAULT_STRATEGY,
        slack_ns=slack,
        wait=wait,
        accept_thread_cost=accept_thread_cost,
        force=force,
    )
    show_json(patched_json(done)) if json else show_patched(done)


def check_patch(
    out: str | None = None,
    strategy: str | None = None,
    slack_ns: str | None = None,
    quantum: str | None = None,
    dense: str | None = None,
    spin: str | None = None,
    **_: object,
) -> None:
    """See before anything is built that `patch` without a binary can be meant. Raises UsageError."""
    from patcher import DEFAULT_STRATEGY
    from patcher.patching import check_options

    if out is not None:
        raise UsageError("--out goes with --binary: without it, every built program is patched, and each has its place")
    slack, wait = _asked(slack_ns, quantum, dense, spin)
    if strategy is not None or slack is not None or wait.asked:
        check_options(strategy or DEFAULT_STRATEGY, slack, wait)


def _asked(slack_ns: str | None, quantum: str | None, dense: str | None, spin: str | None) -> "tuple[int | None, Wait]":
    from patcher.wait import Wait

    wait = Wait(whole("quantum", quantum), whole("dense", dense), whole("spin", spin))
    return whole("slack-ns", slack_ns), wait


@task(
    positional=["path"],
    help={
        "path": "a Go binary, patched or not; with --image, its path in there (default: every Go program)",
        "image": images.IMAGE_HELP,
        "platform": images.PLATFORM_HELP,
        "json": JSON_HELP,
    },
)
@front_door
def inspect(
    _: Context,
    path: str = images.NO_FILE,
    image: str | None = None,
    platform: str | None = None,
    json: bool = False,
) -> None:
    """Tell where a Go binary sleeps and which strategies apply."""
    import patcher
    from patcher.show import show_inspection

    if image is not None:
        images.inspect(image, path, platform, json=json)
        return
    images.check_file_named(path, platform)
    seen = patcher.inspect(path)
    show_json(seen.to_json()) if json else show_inspection(seen)


@task(
    positional=["path"],
    help={
        "path": "a patched binary; it is compared with its manifest or, without one, its undo record; with --image, "
        "its path in there (default: those that the image tells of)",
        "image": images.IMAGE_HELP,
        "platform": images.PLATFORM_HELP,
        "json": JSON_HELP,
    },
)
@front_door
def verify(
    _: Context,
    path: str = images.NO_FILE,
    image: str | None = None,
    platform: str | None = None,
    json: bool = False,
) -> None:
    """Check a patched binary against its manifest; prove it again."""
    import patcher
    from patcher.show import show_verified, verified_json

    if image is not None:
        images.verify(image, path, platform, json=json)
        return
    images.check_file_named(path, platform)
    checked = patcher.verify(path)
    show_json(verified_json(checked)) if json else show_verified(checked)


@task(
    positional=["path"],
    help={
        "path": "a patched binary; its manifest or, without one, its undo record says how; with --image, its path in "
        "there (default: those that the image tells of)",
        "image": images.IMAGE_HELP,
        "platform": images.PLATFORM_HELP,
        "out": "where the original goes (default: in place of the patched file; the manifest is removed); with "
        "--image, the original image, named as there, - for standard output",
        "force": "overwrite --out",
        "check": "write nothing: say whether the original can be restored, and its SHA-256",
        "json": JSON_HELP,
    },
)
@front_door
def revert(
    _: Context,
    path: str = images.NO_FILE,
    image: str | None = None,
    platform: str | None = None,
    out: str | None = None,
    force: bool = False,
    check: bool = False,
    json: bool = False,
) -> None:
    """Undo a patch, byte for byte."""
    import patcher
    from patcher.show import revert_json, show_reverted

    if image is not None:
        images.revert(image, path, out, platform, force=force, check=check, json=json)
        return
    images.check_file_named(path, platform)
    written = patcher.revert(path, out or None, force=force, check=check)
    show_json(revert_json(written)) if json else show_reverted(written)
