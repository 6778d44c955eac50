"""What a patch would bring to a program of the user's own, and what it would cost: told by watching it, unchanged."""
