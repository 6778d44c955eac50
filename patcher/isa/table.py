"""All instruction sets: the only list of them."""

from patcher.isa.amd64.isa import AMD64
from patcher.isa.arm64.isa import ARM64

#: By the ELF machine number.
ISAS = {each.machine: each for each in (AMD64, ARM64)}
#: What a refusal calls them together.
PLATFORMS = " or ".join(f"linux/{each.name}" for each in ISAS.values())
