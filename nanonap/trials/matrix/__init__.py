"""Every Go release in every build mode with every strategy: patched, proven, run, unwound, reverted."""
