"""A/B of a user's own service: stock against patched, by file or in a running process, under the user's own load."""
