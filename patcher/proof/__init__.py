"""The emulator that runs stubs, its events, the unwinder's rules."""
