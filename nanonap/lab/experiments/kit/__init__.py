"""What experiments share: the face of one, copies of programs, work inside a backend, groups they make."""
