"""Locate the sleep paths of a Go program's runtime, place stubs, prove them, rewrite the program in place.

The public API: ``inspect``, ``patch``, ``patch_bytes``, ``verify``, ``revert`` for files, ``inject``, ``eject``,
``status``, ``running`` for processes, and the errors that they raise, all subclasses of NanonapError. Everything that
reads a program runs in a child process; this one loads no native library.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nanonap.base.errors import (
    DiskFull,
    NanonapError,
    OutputExists,
    OutputNotWritable,
    SystemIncomplete,
    UsageError,
)
from patcher.errors import (
    AlreadyPatched,
    AlreadyPrecise,
    FakeTime,
    InputNotFound,
    InternalFault,
    MalformedBinary,
    ManifestMismatch,
    ManifestMissing,
    NoRoom,
    NotARegularFile,
    NotElf,
    NotEnoughMemory,
    NotGo,
    NotPatched,
    PackedBinary,
    ProofFailed,
    ReaderCrashed,
    ReaderTooLarge,
    ReaderTooSlow,
    SameFile,
    ShapeMismatch,
    ThreadCost,
    UnsupportedGo,
    UsesSynctest,
    WrongArchitecture,
    WrongClass,
)
from patcher.inspection import Inspection, inspect
from patcher.manifest import Manifest
from patcher.patching import Patched, PatchedBytes, patch, patch_bytes
from patcher.strategies.table import DEFAULT_STRATEGY, STRATEGIES
from patcher.undoing import Reverted, Verified, revert, verify
from patcher.wait import RECOMMENDED_DENSE_NS, RECOMMENDED_QUANTUM_NS, RECOMMENDED_SPIN_NS, Wait

if TYPE_CHECKING:
    from patcher.live.errors import (
        AgentFailed,
        BreakpointSet,
        CannotStage,
        CannotStop,
        Frozen,
        KernelTooOld,
        MemoryUnknown,
        NoSuchProcess,
        NotInjected,
        NotPermitted,
        NotWritable,
        ProcessChanged,
        SeccompKills,
        SeccompUnreadable,
        SomeFailed,
        Traced,
    )
    from patcher.live.injecting import Changed, Status, eject, inject, running, status

__all__ = [
    "DEFAULT_STRATEGY",
    "RECOMMENDED_DENSE_NS",
    "RECOMMENDED_QUANTUM_NS",
    "RECOMMENDED_SPIN_NS",
    "STRATEGIES",
    "AgentFailed",
    "AlreadyPatched",
    "AlreadyPrecise",
    "BreakpointSet",
    "CannotStage",
    "CannotStop",
    "Changed",
    "DiskFull",
    "FakeTime",
    "Frozen",
    "InputNotFound",
    "Inspection",
    "InternalFault",
    "KernelTooOld",
    "MalformedBinary",
    "Manifest",
    "ManifestMismatch",
    "ManifestMissing",
    "MemoryUnknown",
    "NanonapError",
    "NoRoom",
    "NoSuchProcess",
    "NotARegularFile",
    "NotElf",
    "NotEnoughMemory",
    "NotGo",
    "NotInjected",
    "NotPatched",
    "NotPermitted",
    "NotWritable",
    "OutputExists",
    "OutputNotWritable",
    "PackedBinary",
    "Patched",
    "PatchedBytes",
    "ProcessChanged",
    "ProofFailed",
    "ReaderCrashed",
    "ReaderTooLarge",
    "ReaderTooSlow",
    "Reverted",
    "SameFile",
    "SeccompKills",
    "SeccompUnreadable",
    "ShapeMismatch",
    "SomeFailed",
    "Status",
    "SystemIncomplete",
    "ThreadCost",
    "Traced",
    "UnsupportedGo",
    "UsageError",
    "UsesSynctest",
    "Verified",
    "Wait",
    "WrongArchitecture",
    "WrongClass",
    "eject",
    "inject",
    "inspect",
    "patch",
    "patch_bytes",
    "revert",
    "running",
    "status",
    "verify",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has that name
    """What concerns processes, loaded where it is first asked for: work on files does without."""
    if name in __all__:
        for module in map(importlib.import_module, ("patcher.live.errors", "patcher.live.injecting")):
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
