"""The binary side: locate the runtime's sleep paths, place stubs, prove them, rewrite in place.

The public API: ``inspect``, ``patch``, ``verify``, ``revert``. All raise subclasses of nanonap.errors.NanonapError.
"""

from patcher.inspection import Inspection, inspect
from patcher.manifest import Manifest
from patcher.patching import DEFAULT_STRATEGY, STRATEGIES, Patched, default_output, patch
from patcher.undoing import Reverted, Verified, revert, verify
from patcher.wait import RECOMMENDED_DENSE_NS, RECOMMENDED_QUANTUM_NS, RECOMMENDED_SPIN_NS, Wait

__all__ = [
    "DEFAULT_STRATEGY",
    "RECOMMENDED_DENSE_NS",
    "RECOMMENDED_QUANTUM_NS",
    "RECOMMENDED_SPIN_NS",
    "STRATEGIES",
    "Inspection",
    "Manifest",
    "Patched",
    "Reverted",
    "Verified",
    "Wait",
    "default_output",
    "inspect",
    "patch",
    "revert",
    "verify",
]
