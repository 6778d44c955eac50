"""A folder a strategy: each finds its sites in a Go image and gives the edits, or says why not."""
