"""AArch64, by Go's name arm64."""
