"""The image's side of the tasks patch, inspect, verify, revert: they call these where ``--image`` is given."""

import sys
from typing import TYPE_CHECKING

from nanonap.base.errors import UsageError
from nanonap.base.terminal import printable, say
from nanonap.cli.shared import show_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from patcher.wait import Wait

NO_FILE = "\0"  # Invoke takes a positional argument without a value for one that is missing
IMAGE_HELP = (
    "instead of a file, a container image: an OCI layout's folder, an archive (- for standard input), or a name behind "
    "docker:, podman: or registry:"
)
PLATFORM_HELP = "with --image: the platform that is meant (default: linux/amd64)"


def check_file_named(path: str, platform: str | None) -> None:
    """Raises UsageError where no file is named, or what goes with an image alone."""
    if path == NO_FILE:
        raise UsageError("name a file, or a container image by --image")
    if platform is not None:
        raise UsageError("--platform goes with --image")


def patch(
    image: str,
    out: str | None,
    strategy: str | None,
    *,
    path: list[str],
    every: bool,
    platform: str | None,
    append_layer: bool,
    slack_ns: int | None,
    wait: "Wait",
    accept_thread_cost: bool,
    force: bool,
    json: bool,
) -> None:
    """``patch --image``."""
    import patcher
    from patcher.images.show import patched_json, show_patched

    tell = _answers(out, json=json)
    if out is None:
        raise UsageError("--out is missing: where the new image goes; - is standard output")
    done = patcher.patch_image(
        image,
        out,
        strategy or patcher.DEFAULT_STRATEGY,
        path=path,
        all=every,
        platform=platform,
        append_layer=append_layer,
        slack_ns=slack_ns,
        wait=wait,
        accept_thread_cost=accept_thread_cost,
        force=force,
    )
    show_json(patched_json(done)) if json else show_patched(done, tell)


def inspect(image: str, path: str, platform: str | None, *, json: bool) -> None:
    """``inspect --image``."""
    import patcher
    from patcher.images.show import show_inspected

    found = patcher.inspect_image(image, path=_inside(path), platform=platform)
    show_json({"images": [each.to_json() for each in found]}) if json else show_inspected(found, say)


def verify(image: str, path: str, platform: str | None, *, json: bool) -> None:
    """``verify --image``."""
    import patcher
    from patcher.images.show import show_verified, verified_image_json

    found = patcher.verify_image(image, path=_inside(path), platform=platform)
    show_json(verified_image_json(found)) if json else show_verified(found, say)


def revert(
    image: str, path: str, out: str | None, platform: str | None, *, force: bool, check: bool, json: bool
) -> None:
    """``revert --image``."""
    import patcher
    from patcher.images.show import reverted_json, show_reverted

    tell = _answers(out, json=json)
    done = patcher.revert_image(image, out, path=_inside(path), platform=platform, force=force, check=check)
    show_json(reverted_json(done)) if json else show_reverted(done, tell)


def _inside(path: str) -> tuple[str, ...]:
    return () if path == NO_FILE else (path,)


def _answers(out: str | None, *, json: bool) -> "Callable[[str], None]":
    """Where the answer goes: beside an archive on stdout, to stderr."""
    if out != "-":
        return say
    from patcher.images.places import check_stdout

    check_stdout()
    if json:
        raise UsageError("--json and --out -: both would go to standard output; send the image elsewhere")
    return lambda line: print(printable(line), file=sys.stderr)
