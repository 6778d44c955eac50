"""What every room stands on: errors, durations, files, processes, paths, the terminal."""
