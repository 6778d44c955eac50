"""Results as they lie on disk: written and read."""
