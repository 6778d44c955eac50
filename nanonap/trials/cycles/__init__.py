"""Thousands of changes of a running process that is under every strain at once, and kills in the midst of them."""
