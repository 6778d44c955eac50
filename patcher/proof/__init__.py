"""The proof: stubs run in an emulator, unwinding tables checked against the code."""
