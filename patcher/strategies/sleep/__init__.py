"""``sleep``: time.Sleep is a system call of its own."""

NAME = "sleep"
