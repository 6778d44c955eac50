"""The front door's tasks: each parses its options, calls one function, shows the answer."""
