"""What will be run: arms, conditions, and the order of the runs."""
