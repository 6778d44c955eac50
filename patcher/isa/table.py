"""All instruction sets: the only list of them."""

from patcher.isa.amd64.isa import AMD64

#: By the ELF machine number.
ISAS = {each.machine: each for each in (AMD64,)}
