"""What building and patching the built programs tells a person, and the JSON it tells a script."""

import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.table import Table

from nanonap.base.paths import PROJECT
from nanonap.base.terminal import answers
from nanonap.toolchain.build import Built
from nanonap.toolchain.patched import Outcome
from patcher.show import patched_json


def show_built(built: Sequence[Built]) -> None:
    """One line per program on stderr, for `build` comes before other tasks whose stdout a script reads."""
    for each in built:
        path = each.path.relative_to(PROJECT) if each.path.is_relative_to(PROJECT) else each.path
        print(f"{path}: built with go {each.go_version}, {each.mode}, sha256 {each.sha256[:16]}…", file=sys.stderr)


def outcomes_json(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Every program and variant: the manifest, or the reason why there is none."""
    return {
        "patched": [
            {"program": str(each.program), "variant": each.variant.name}
            | (patched_json(each.patched) if each.patched else {"refused": str(each.refusal)})
            for each in outcomes
        ]
    }


def show_outcomes(outcomes: Iterable[Outcome]) -> None:
    """A table for each program: variant, places and bytes changed, new system calls, proof."""
    for program, own in groupby(outcomes, lambda each: each.program):
        title = f"{'/'.join(program.parts[-3:])}: patched, every stub proven"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        # A name that is cut short names nothing.
        for name in ("arm", "changed", "newly calls", "cases held"):
            table.add_column(name, overflow="fold")
        for each in own:
            if each.patched is None:
                table.add_row(each.variant.name, "refused", "", str(each.refusal))
                continue
            manifest = each.patched.manifest
            size = sum(len(edit.new) for edit in manifest.edits)
            table.add_row(
                each.variant.name,
                f"{len(manifest.edits)} places, {size} B",
                ", ".join(manifest.new_syscalls),
                f"{manifest.proof.passed} of {manifest.proof.cases}",
            )
        answers().print(table)
