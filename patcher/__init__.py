"""The binary side: locate the runtime's sleep paths, place stubs, prove them, rewrite in place."""
