"""The rows of ``article-patch`` on patchelf: what its options edit, and what they do to real Go programs."""

import hashlib
import re
import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.errors import NanonapError
from nanonap.base.paths import TRIED
from nanonap.lab.experiments.article_patch.runs import OPTION, PATCHELF, Plan, Row, first_line, run_bounded, run_copy
from nanonap.lab.experiments.kit.base import Setting
from nanonap.toolchain.build import build_one
from nanonap.toolchain.modes import MODES
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.golang.image import read_image

#: Every option of patchelf 0.9 to 0.18 and what it edits (patchelf(1)); nothing: it only shows or steers others.
_NOTHING = ""
EDITS = {
    "--set-interpreter": "PT_INTERP",
    "--page-size": _NOTHING,
    "--print-interpreter": _NOTHING,
    "--print-os-abi": _NOTHING,
    "--set-os-abi": "the ELF header",
    "--print-soname": _NOTHING,
    "--set-soname": "the dynamic section",
    "--set-rpath": "the dynamic section",
    "--add-rpath": "the dynamic section",
    "--remove-rpath": "the dynamic section",
    "--shrink-rpath": "the dynamic section",
    "--allowed-rpath-prefixes": _NOTHING,
    "--print-rpath": _NOTHING,
    "--force-rpath": _NOTHING,
    "--add-needed": "the dynamic section",
    "--remove-needed": "the dynamic section",
    "--replace-needed": "the dynamic section",
    "--print-needed": _NOTHING,
    "--no-default-lib": "the dynamic section",
    "--no-sort": _NOTHING,
    "--clear-symbol-version": "dynamic symbols' versions",
    "--add-debug-tag": "the dynamic section",
    "--print-execstack": _NOTHING,
    "--clear-execstack": "PT_GNU_STACK",
    "--set-execstack": "PT_GNU_STACK",
    "--rename-dynamic-symbols": "dynamic symbols' names",
    "--build-resolution-cache": "the dynamic section",
    "--no-clobber-old-sections": _NOTHING,
    "--output": _NOTHING,
    "--debug": _NOTHING,
    "--version": _NOTHING,
    "--help": _NOTHING,
}
_NAMES = "FILE"  # stands for one that maps a dynamic symbol's name to another
#: What is tried where the installed patchelf lists it: all that edits or shows something of its own, and not only
#: steers others. The libraries are libc's own, and there.
TRIED_OPTIONS = (
    ("--print-interpreter",),
    ("--set-interpreter", "/lib64/../lib64/ld-linux-x86-64.so.2"),  # the same file by a longer name
    ("--print-soname",),
    ("--set-soname", "libnap.so"),
    ("--set-rpath", "/nonexistent"),
    ("--add-rpath", "/nonexistent"),
    ("--remove-rpath",),
    ("--shrink-rpath",),
    ("--print-rpath",),
    ("--add-needed", "libm.so.6"),
    ("--remove-needed", "libm.so.6"),
    ("--replace-needed", "libc.so.6", "libm.so.6"),
    ("--print-needed",),
    ("--no-default-lib",),
    ("--clear-symbol-version", "pthread_create"),
    ("--rename-dynamic-symbols", _NAMES),
    ("--add-debug-tag",),
    ("--build-resolution-cache",),
    ("--print-execstack",),
    ("--clear-execstack",),
    ("--set-execstack",),
    ("--print-os-abi",),
    ("--set-os-abi", "linux"),
)
_OPTION = re.compile(r"^\s*\[?(?:-\w\|)?(--[\w-]+)", re.MULTILINE)
_PHDR = struct.Struct("<IIQQQQQQ")  # type, flags, offset, address, physical, file size, memory size, alignment (elf(5))
_PT_LOAD, _E_PHOFF, _E_PHNUM = 1, 32, 56
REMEDY = "apt-get install patchelf"
_MENDED = "apt-get install --reinstall patchelf"


@dataclass(frozen=True)
class _Code:
    """Where a program's .text is as linked, and its bytes' SHA-256."""

    address: int
    size: int
    sha256: str


def patchelf_rows(setting: Setting, plan: Plan, folder: Path) -> Iterator[Row]:
    """Its options; then those of TRIED_OPTIONS on copies of the static program and of dynamically linked ones."""
    if shutil.which("patchelf") is None:
        yield {"part": PATCHELF, "missing": f"there is no patchelf here; {REMEDY}"}
        return
    version = first_line(run_bounded(setting, ["patchelf", "--version"]).stdout.decode(errors="replace"))
    shown = run_bounded(setting, ["patchelf", "--help"])
    listed = list(dict.fromkeys(_OPTION.findall(shown.stdout.decode(errors="replace") + shown.stderr)))
    if not listed:
        why = first_line(shown.stderr) or f"exit status {shown.status}"
        yield {"part": PATCHELF, "missing": f"patchelf is here, and lists no options ({why}); {_MENDED}"}
        return
    for option in listed:
        edits = EDITS.get(option)
        told = {} if edits is None else {"found": False, "message": edits}
        yield {"part": OPTION, "subject": version, "tried": option, **told}
    tries = [words for words in TRIED_OPTIONS if words[0] in listed]
    yield from _tried(setting, setting.program, "static", tries, folder)
    for name in plan.modes:
        mode = MODES[name]
        if lacking := mode.missing():
            missing = f"{', '.join(lacking)} is not on PATH; install it"
            yield {"part": PATCHELF, "subject": name, "missing": missing}
            continue
        setting.say(f"building the program in mode {name}")
        built = build_one(release_toolchain(DEFAULT_GO), mode, setting.program.name, TRIED)
        yield from _tried(setting, built.path, name, tries, folder)


def _tried(
    setting: Setting, program: Path, subject: str, tries: Sequence[tuple[str, ...]], folder: Path
) -> Iterator[Row]:
    image = read_image(program)
    text = image.section(".text")
    if text is None:
        yield {"part": PATCHELF, "subject": subject, "missing": f"{program.name} has no section .text to compare"}
        return
    before = _Code(text.address, text.size, hashlib.sha256(image.read(text.address, text.size)).hexdigest())
    original = program.read_bytes()
    copy, names = folder / "copy", folder / "names"
    names.write_text("pthread_create pthread_begin\n", encoding="ascii")
    for words in tries:
        setting.say(f"patchelf {words[0]}, {subject}")
        copy.write_bytes(original)
        copy.chmod(0o755)
        told = [str(names) if word == _NAMES else word for word in words]
        done = run_bounded(setting, ["patchelf", *told, str(copy)])
        after = copy.read_bytes()
        code = code_at(after, before.address, before.size)
        message = first_line(done.stderr or done.stdout.decode(errors="replace"))
        yield {
            "part": PATCHELF,
            "subject": subject,
            "tried": " ".join(words),
            "status": done.status,
            "message": message or _readable(copy),
            "changed": after != original,
            "code_same": hashlib.sha256(code).hexdigest() == before.sha256 if code else None,
            "runs": run_copy(setting, copy).status == 0,
        }


def code_at(data: bytes, address: int, size: int) -> bytes:
    """The bytes that the kernel maps at an address, by the program headers alone; b"" where there are not so many.

    patchelf may leave section headers that no reader takes (seen in a PIE: a section beyond the file's end).
    """
    try:
        (table,) = struct.unpack_from("<Q", data, _E_PHOFF)
        (count,) = struct.unpack_from("<H", data, _E_PHNUM)
        headers = [_PHDR.unpack_from(data, table + index * _PHDR.size) for index in range(count)]
    except struct.error:  # the file ends before they do
        return b""
    for kind, _, offset, start, _, length, _, _ in headers:
        if kind == _PT_LOAD and start <= address and address + size <= start + length:
            found = data[offset + address - start : offset + address - start + size]
            return found if len(found) == size else b""
    return b""


def _readable(copy: Path) -> str:
    """What the patcher finds wrong with the file; nothing where it reads it."""
    try:
        read_image(copy)
    except NanonapError as error:
        return str(error).removeprefix(f"{copy}: ")
    return ""
