"""What a quota does to a process, by arithmetic; and beside what was measured."""
