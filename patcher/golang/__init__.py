"""What Go put into the file: build info, the function table, moduledata, stack maps, functions, system calls."""
