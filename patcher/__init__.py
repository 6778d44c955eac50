"""Locate the sleep paths of a Go program's runtime, place stubs, prove them, rewrite the program in place.

The public API: ``inspect``, ``patch``, ``patch_bytes``, ``verify``, ``revert`` for files, ``inject``, ``eject``,
``status``, ``running`` for processes, ``patch_image``, ``inspect_image``, ``verify_image``, ``revert_image`` for
container images, and the errors that they raise, all subclasses of NanonapError. Everything that reads a program runs
in a child process; this one loads no native library.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from patcher.images.errors import BadImage, EngineFailed, ImageTooLarge, LayerFixed
    from patcher.images.inspecting import InspectedImage, VerifiedImage, inspect_image, verify_image
    from patcher.images.patching import PatchedImages, patch_image
    from patcher.images.undoing import RevertedImages, revert_image
    from patcher.inspection import Inspection, inspect
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
    from patcher.manifest import Manifest
    from patcher.patching import Patched, PatchedBytes, patch, patch_bytes
    from patcher.strategies.table import DEFAULT_STRATEGY, STRATEGIES
    from patcher.undoing import Reverted, Verified, revert, verify
    from patcher.wait import RECOMMENDED_DENSE_NS, RECOMMENDED_QUANTUM_NS, RECOMMENDED_SPIN_NS, Wait

__all__ = [
    "DEFAULT_STRATEGY",
    "RECOMMENDED_DENSE_NS",
    "RECOMMENDED_QUANTUM_NS",
    "RECOMMENDED_SPIN_NS",
    "STRATEGIES",
    "AgentFailed",
    "AlreadyPatched",
    "AlreadyPrecise",
    "BadImage",
    "BreakpointSet",
    "CannotStage",
    "CannotStop",
    "Changed",
    "DiskFull",
    "EngineFailed",
    "FakeTime",
    "Frozen",
    "ImageTooLarge",
    "InputNotFound",
    "InspectedImage",
    "Inspection",
    "InternalFault",
    "KernelTooOld",
    "LayerFixed",
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
    "PatchedImages",
    "ProcessChanged",
    "ProofFailed",
    "ReaderCrashed",
    "ReaderTooLarge",
    "ReaderTooSlow",
    "Reverted",
    "RevertedImages",
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
    "VerifiedImage",
    "Wait",
    "WrongArchitecture",
    "WrongClass",
    "eject",
    "inject",
    "inspect",
    "inspect_image",
    "patch",
    "patch_bytes",
    "patch_image",
    "revert",
    "revert_image",
    "running",
    "status",
    "verify",
    "verify_image",
]


#: From those that load least to those that load most.
_MODULES = (
    "nanonap.base.errors",
    "patcher.errors",
    "patcher.wait",
    "patcher.manifest",
    "patcher.strategies.table",
    "patcher.patching",
    "patcher.inspection",
    "patcher.undoing",
    "patcher.live.errors",
    "patcher.live.injecting",
    "patcher.images.errors",
    "patcher.images.patching",
    "patcher.images.inspecting",
    "patcher.images.undoing",
)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has that name
    """What has that name, loaded where it is first asked for: a command does without what it does not use."""
    for module in _MODULES if name in __all__ else ():
        found = vars(importlib.import_module(module))
        if name in found:
            globals()[name] = found[name]
            return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is loaded, and what can be."""
    return sorted({*globals(), *__all__})
