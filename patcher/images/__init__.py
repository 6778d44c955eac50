"""The same patch in a container image: found through its layers, laid over the program where it lies, in equal size."""
