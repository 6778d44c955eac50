"""One run of one program: started, measured, its system calls, what explains it."""
