"""Errors of the lab, facts of the host, interrupts, the watchdog that cleans up."""
