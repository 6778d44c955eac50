"""What shows that the patcher does no harm: every release and build mode, other people's programs, damaged files."""
