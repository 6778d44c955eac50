"""A result as one file that another machine can read and draw again."""
