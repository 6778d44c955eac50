"""Go toolchains, pinned and fetched, and the programs built with them."""
