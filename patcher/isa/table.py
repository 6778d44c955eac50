"""All instruction sets: the only list of them."""

import os

from patcher.isa.amd64.isa import AMD64
from patcher.isa.arm64.isa import ARM64

#: By the ELF machine number.
ISAS = {each.machine: each for each in (AMD64, ARM64)}
#: What a refusal calls them together.
PLATFORMS = " or ".join(f"linux/{each.name}" for each in ISAS.values())
#: This machine's; another's first one where it is none of them: no program runs here then that the patcher knows.
HERE = next((each for each in ISAS.values() if each.kernel == os.uname().machine), AMD64)
