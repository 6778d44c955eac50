"""One file per way to limit CPU, all with the same face."""
