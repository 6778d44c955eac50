"""Whether the runtime can read the stacks of goroutines that sleep in new code: what tests and trials share."""
