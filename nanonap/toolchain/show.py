"""What building and patching the built programs tells a person, and the JSON it tells a script."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from nanonap.paths import PROJECT
from nanonap.terminal import answers
from patcher.show import patched_json
from toolchain.build import Built
from toolchain.patched import Outcome


def show_built(built: Sequence[Built]) -> None:
    """A line a program on stderr, for `build` comes before other tasks whose stdout a script reads."""
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
    """A table: program, variant, places and bytes changed, new system calls, proof."""
    table = Table("program", "arm", "changed", "newly calls", "proof", title="patched, every stub proven")
    for each in outcomes:
        program = "/".join(each.program.parts[-3:])
        if each.patched is None:
            table.add_row(program, each.variant.name, "refused", "", str(each.refusal))
            continue
        manifest = each.patched.manifest
        size = sum(len(edit.new) for edit in manifest.edits)
        table.add_row(
            program,
            each.variant.name,
            f"{len(manifest.edits)} places, {size} bytes",
            ", ".join(manifest.new_syscalls),
            f"{manifest.proof.passed} of {manifest.proof.cases} cases hold",
        )
    answers().print(table)
