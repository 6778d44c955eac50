"""Go's own tests and other people's programs, stock and patched: the same verdicts, the same work done."""
