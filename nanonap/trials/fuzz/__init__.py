"""Damaged binaries: every one must end in an error of ours, or in a patch that is right, in bounded time and memory."""
