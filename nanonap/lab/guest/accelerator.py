"""KVM or emulation: KVM may be there and still not boot a kernel, so it is tried, once a boot of this machine."""

import contextlib
import json
import os
from pathlib import Path

from nanonap.base.errors import NanonapError
from nanonap.base.files import write_text
from nanonap.lab.ground.host import facts
from nanonap.lab.guest.image import Image

#: What results from an emulated guest must say.
EMULATED = "emulated, not for microseconds"
_KVM = Path("/dev/kvm")


class Memory:
    """What is known of KVM for an image since this machine booted."""

    def __init__(self, image: Image) -> None:
        """Kept beside the image."""
        self._file = image.folder / "kvm.json"
        self._boot = facts()["boot"]

    def try_kvm(self) -> bool:
        """Whether it is there and has not failed yet."""
        if not os.access(_KVM, os.R_OK | os.W_OK):
            return False
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return True
        return bool(known.get("works")) or known.get("boot") != self._boot

    def kvm_works(self, works: bool) -> None:
        """Remember it."""
        with contextlib.suppress(NanonapError):  # a folder that cannot be written: it is tried again
            write_text(self._file, json.dumps({"boot": self._boot, "works": works}))
