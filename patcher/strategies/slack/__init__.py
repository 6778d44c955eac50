"""``slack``: the process sets its timer slack as it starts."""

NAME = "slack"
PR_SET_TIMERSLACK = 29  # linux/prctl.h
