"""Where a late wake-up's time went: timer, quota, run queue, Go's scheduler, or not known."""
