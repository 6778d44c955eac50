"""A load of the answerer: asks a number of times, tells what it saw. Usage: load.py PORT TIMES [WORD]."""

import json
import signal
import socket
import statistics
import sys
import time


def main() -> None:
    port, times, word = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    if word == "hang":
        signal.pause()
    if word == "fail":
        sys.exit("load: told to fail")
    took = []
    with socket.create_connection(("localhost", port)) as line, line.makefile("rwb", buffering=0) as stream:
        for _ in range(times):
            begun = time.monotonic_ns()
            stream.write(b"die\n" if word == "die" else b"ask\n")
            if not stream.readline():
                sys.exit("load: no answer")
            took.append(time.monotonic_ns() - begun)
    print(f"asked {times} times, median {statistics.median(took) / 1000:.1f}us", file=sys.stderr)
    print(json.dumps({"asked": {"times": times}, "least_ns": [min(took)], "worst_ns": [max(took)]}))


if __name__ == "__main__":
    main()
