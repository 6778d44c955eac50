"""``usleep``: the scheduler waits in usleep where it would in epoll."""

NAME = "usleep"
