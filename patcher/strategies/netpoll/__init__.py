"""``netpoll``: the runtime's wait for events takes nanoseconds."""

NAME = "netpoll"
