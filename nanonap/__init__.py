"""What every room of the house stands on: the version, errors, durations, files, the terminal."""

__version__ = "0.1.0"
