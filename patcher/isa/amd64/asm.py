"""Intel syntax made into machine code; ``#`` begins a comment."""

from typing import TYPE_CHECKING

from patcher.isa.amd64.code import size_of
from patcher.isa.assembler import Assembler

if TYPE_CHECKING:
    import keystone


def _engine() -> "keystone.Ks":
    import keystone

    engine = keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64)
    engine.syntax = keystone.KS_OPT_SYNTAX_INTEL
    return engine


assemble = Assembler(_engine, "#", size_of).assemble
