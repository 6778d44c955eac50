"""The rows of ``article-patch`` on patchelf: what its options edit, and what they do to real Go programs."""

import hashlib
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.experiments.article_patch_runs import OPTION, PATCHELF, RUN_S, Plan, Row, first_line, run_copy
from bench.experiments.base import Setting
from nanonap.errors import NanonapError
from nanonap.paths import TRIED
from patcher.image import read_image
from toolchain.build import build_one
from toolchain.modes import MODES
from toolchain.releases import release_toolchain
from toolchain.wheels import DEFAULT_GO

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
#: What is tried: all that could apply to a program. The libraries are libc's own, and there.
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
)
_OPTION = re.compile(r"^\s*\[?(?:-\w\|)?(--[\w-]+)", re.MULTILINE)
_PHDR = struct.Struct("<IIQQQQQQ")  # type, flags, offset, address, physical, file size, memory size, alignment (elf(5))
_PT_LOAD, _E_PHOFF, _E_PHNUM = 1, 32, 56
REMEDY = "apt-get install patchelf"


@dataclass(frozen=True)
class _Code:
    """Where a program's .text is as linked, and its bytes' SHA-256."""

    address: int
    size: int
    sha256: str


def patchelf_rows(setting: Setting, plan: Plan, folder: Path) -> Iterator[Row]:
    """Its options; then each of TRIED_OPTIONS on copies of the static program and of dynamically linked ones."""
    if shutil.which("patchelf") is None:
        yield {"part": PATCHELF, "missing": f"there is no patchelf here; {REMEDY}"}
        return
    version = first_line(setting.stop.run(["patchelf", "--version"], RUN_S).stdout.decode(errors="replace"))
    shown = setting.stop.run(["patchelf", "--help"], RUN_S)
    for option in dict.fromkeys(_OPTION.findall(shown.stdout.decode(errors="replace") + shown.stderr)):
        edits = EDITS.get(option)
        told = {} if edits is None else {"found": False, "message": edits}
        yield {"part": OPTION, "subject": version, "tried": option, **told}
    yield from _tried(setting, setting.program, "static", folder)
    for name in plan.modes:
        mode = MODES[name]
        if lacking := mode.missing():
            missing = f"{', '.join(lacking)} is not on PATH; install it"
            yield {"part": PATCHELF, "subject": name, "missing": missing}
            continue
        setting.say(f"building the program in mode {name}")
        built = build_one(release_toolchain(DEFAULT_GO), mode, setting.program.name, TRIED)
        yield from _tried(setting, built.path, name, folder)


def _tried(setting: Setting, program: Path, subject: str, folder: Path) -> Iterator[Row]:
    image = read_image(program)
    text = image.section(".text")
    if text is None:
        yield {"part": PATCHELF, "subject": subject, "missing": f"{program.name} has no section .text to compare"}
        return
    before = _Code(text.address, text.size, hashlib.sha256(image.read(text.address, text.size)).hexdigest())
    original = program.read_bytes()
    copy = folder / "copy"
    for words in TRIED_OPTIONS:
        setting.say(f"patchelf {words[0]}, {subject}")
        copy.write_bytes(original)
        copy.chmod(0o755)
        done = setting.stop.run(["patchelf", *words, str(copy)], RUN_S)
        after = copy.read_bytes()
        message = first_line(done.stderr or done.stdout.decode(errors="replace"))
        yield {
            "part": PATCHELF,
            "subject": subject,
            "tried": " ".join(words),
            "status": done.status,
            "message": message or _readable(copy),
            "changed": after != original,
            "code_same": hashlib.sha256(code_at(after, before.address, before.size)).hexdigest() == before.sha256,
            "runs": run_copy(setting, copy).status == 0,
        }


def code_at(data: bytes, address: int, size: int) -> bytes:
    """The bytes that the kernel maps at an address, by the program headers alone; b"" where it maps fewer.

    patchelf may leave section headers that no reader takes (seen in a PIE: a section beyond the file's end).
    """
    (table,) = struct.unpack_from("<Q", data, _E_PHOFF)
    (count,) = struct.unpack_from("<H", data, _E_PHNUM)
    for index in range(count):
        kind, _, offset, start, _, length, _, _ = _PHDR.unpack_from(data, table + index * _PHDR.size)
        if kind == _PT_LOAD and start <= address and address + size <= start + length:
            return data[offset + address - start : offset + address - start + size]
    return b""


def _readable(copy: Path) -> str:
    """What the patcher finds wrong with the file; nothing where it reads it."""
    try:
        read_image(copy)
    except NanonapError as error:
        return str(error).removeprefix(f"{copy}: ")
    return ""
