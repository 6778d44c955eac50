"""x86-64: decoding, assembling, how control flows."""
