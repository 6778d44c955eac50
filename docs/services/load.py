"""The loads of docs/services.md: each asks one service, or is asked by it, and ends with a line of JSON.

Usage: load.py NAME ARGUMENTS; see the functions. Times are written as ``12.3us``. Only Python's own library is used.
"""

import http.client
import itertools
import json
import random
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from selectors import EVENT_READ, DefaultSelector

HOST = "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
DICE = random.Random()  # noqa: S311 - it draws the pauses of a load; nobody gains by foreseeing them


def us(ns: float) -> str:
    """A time in ns, to be read as a time."""
    return f"{ns / 1000:.1f}us"


def spread(name: str, took: Sequence[float]) -> dict[str, str]:
    """Median and 90th percentile, ns, of at least ten."""
    return {f"{name}_p50": us(statistics.median(took)), f"{name}_p90": us(statistics.quantiles(took, n=10)[-1])}


def timed(times: int, job: Callable[[], object]) -> list[float]:
    """How long it took, each time, ns."""
    took = []
    for _ in range(times):
        begun = time.monotonic_ns()
        job()
        took.append(float(time.monotonic_ns() - begun))
    return took


def asker(port: int, method: str, path: str, body: Callable[[], str | None] = lambda: None) -> Callable[[], bytes]:
    """One request on a kept connection; SystemExit unless it is answered by 2xx."""
    line = http.client.HTTPConnection(HOST, port, timeout=20)
    line.connect()
    line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body of a request are sent apart

    def ask() -> bytes:
        line.request(method, path, body())
        answer = line.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {text[:200]!r}")
        return text

    return ask


def target(port: str, seconds: str, period_ms: str = "0") -> dict[str, object]:
    """Be the server that the service asks, for so long after its first request; tell when its requests came.

    With a period, how late each came: behind the line through the least late ones.
    """
    came: list[int] = []
    with socket.create_server((HOST, int(port)), backlog=256) as door, DefaultSelector() as waiting:
        waiting.register(door, EVENT_READ)
        patience = time.monotonic() + 30
        while time.monotonic() < patience and (not came or came[-1] < came[0] + float(seconds) * 1e9):
            for key, _ in waiting.select(1):
                if key.fileobj is door:
                    line, _ = door.accept()
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    waiting.register(line, EVENT_READ)
                    continue
                if not isinstance(key.fileobj, socket.socket):
                    continue
                line = key.fileobj
                now = time.monotonic_ns()
                try:
                    if not line.recv(1 << 16):
                        raise OSError
                    came.append(now)
                    line.sendall(OK % 10 + b"made_up 1\n")
                except OSError:
                    waiting.unregister(line)
                    line.close()
    if len(came) < 20:
        sys.exit(f"{len(came)} requests came")
    gaps = [float(after - before) for before, after in itertools.pairwise(came)]
    found: dict[str, object] = {"requests": len(came), "rate": round(len(gaps) / (came[-1] - came[0]) * 1e9, 2)}
    found |= spread("gap", gaps)
    if period := float(period_ms) * 1e6:
        phases = [(each - came[0] + period / 2) % period for each in came]
        first = statistics.quantiles(phases, n=20)[0]
        found |= spread("late", [max(each - first, 0) for each in phases])
    return found


def flush(proxy: str, upstream: str, pieces: str = "300") -> dict[str, object]:
    """Through a proxy: an answer that is written piece by piece, every 4 to 8 ms, and small ones in between."""
    count = int(pieces)

    def serve(line: socket.socket) -> None:
        with line, line.makefile("rb") as asked:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while path := asked.readline().split(b" ")[1:2]:
                while asked.readline().strip():
                    pass
                size = 20 * count if path == [b"/pieces"] else 20
                line.sendall(OK % size)
                for _ in range(size // 20):
                    if size > 20:
                        time.sleep(DICE.uniform(0.004, 0.008))
                    line.sendall(b"%019d\n" % time.monotonic_ns())

    def listen() -> None:
        while True:
            threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()

    door = socket.create_server((HOST, int(upstream)))
    threading.Thread(target=listen, daemon=True).start()
    patience = time.monotonic() + 20
    while not _answers(int(proxy)) and time.monotonic() < patience:
        time.sleep(0.05)
    small = timed(300, asker(int(proxy), "GET", "/small"))
    line = http.client.HTTPConnection(HOST, int(proxy), timeout=20)
    line.request("GET", "/pieces")
    answer = line.getresponse()
    late = []
    while text := answer.read(20):
        late.append(float(time.monotonic_ns() - int(text)))
    return spread("piece", late) | spread("request", small)


def _answers(port: int) -> bool:
    line = http.client.HTTPConnection(HOST, port, timeout=20)
    line.request("GET", "/small")
    return line.getresponse().status < 300


class Nats:
    """A line to nats-server, in its text protocol (docs.nats.io, Client Protocol)."""

    def __init__(self, port: str) -> None:
        """Connect."""
        self.line = socket.create_connection((HOST, int(port)), timeout=20)
        self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.line.makefile("rb")
        self.stream.readline()
        self.say('CONNECT {"verbose":false,"headers":true}', "SUB answers.* 1", "SUB played 2", "SUB echo 3")

    def say(self, *lines: str) -> None:
        """Send lines."""
        self.line.sendall("".join(f"{each}\r\n" for each in lines).encode())

    def ask(self, subject: str, text: str = "", answers: str = "answers.1") -> str:
        """Publish with an answer's subject; the answer."""
        self.say(f"PUB {subject} {answers} {len(text)}", text)
        return self.hear()

    def hear(self) -> str:
        """The next message."""
        while not (words := self.stream.readline().split())[0].endswith(b"MSG"):
            if words[0] == b"PING":
                self.say("PONG")
            if words[0] == b"-ERR":
                sys.exit(str(words))
        return self.stream.read(int(words[-1]) + 2).decode()


def nats(port: str, messages: str = "200") -> dict[str, object]:
    """Requests between two clients; then a stream of messages 2 to 6 ms apart, replayed at its own pace."""
    count, one, two = int(messages), Nats(port), Nats(port)
    one.say("UNSUB 3")
    two.say("UNSUB 1", "UNSUB 2")

    def answer() -> None:
        for _ in range(2000):
            two.hear()
            two.say("PUB answers.1 2", "ok")

    one.ask("$JS.API.INFO")
    threading.Thread(target=answer, daemon=True).start()
    time.sleep(0.05)
    requests = timed(2000, lambda: one.ask("echo", "hi"))
    stream = {"name": "made", "subjects": ["made"], "storage": "memory"}
    one.ask("$JS.API.STREAM.DELETE.made")
    one.ask("$JS.API.STREAM.CREATE.made", json.dumps(stream))
    sent = []
    due = time.monotonic()
    for _ in range(count):
        due += DICE.uniform(0.002, 0.006)
        time.sleep(max(due - time.monotonic(), 0))
        sent.append(time.monotonic_ns())
        one.ask("made", "x")
    consumer = {"deliver_subject": "played", "deliver_policy": "all", "replay_policy": "original", "ack_policy": "none"}
    settings = json.dumps({"stream_name": "made", "config": consumer})
    made = one.ask("$JS.API.CONSUMER.CREATE.made", settings)
    if "error" in made:
        sys.exit(made)
    got = []
    for _ in range(count):
        one.hear()
        got.append(time.monotonic_ns())
    whole, asked_for = (each[-1] - each[0] for each in (got, sent))
    over = {"over_a_message": us((whole - asked_for) / (count - 1)), "replay_times": round(whole / asked_for, 5)}
    return over | spread("request", requests)


def prometheus(port: str, target_port: str, seconds: str, period_ms: str) -> dict[str, object]:
    """Be scraped, every so many ms, then ask a query."""
    found = target(target_port, seconds, period_ms)
    return found | spread("query", timed(200, asker(int(port), "GET", "/api/v1/query?query=sum(up)")))


def influx(port: str, times: str = "400") -> dict[str, object]:
    """Write points one by one, each waiting for its answer; pings."""
    asker(int(port), "POST", "/query?q=CREATE+DATABASE+made")()
    write = asker(int(port), "POST", "/write?db=made", lambda: f"made value={DICE.random()}")
    timed(20, write)
    writes = timed(int(times), write)
    return spread("write", writes) | spread("ping", timed(500, asker(int(port), "GET", "/ping")))


def etcd(port: str, times: str = "400") -> dict[str, object]:
    """Put and get keys, then watch the service do nothing but its heartbeats for a second."""
    key = '{"key": "bWFkZQ==", "value": "bWFkZQ=="}'
    puts = timed(int(times), asker(int(port), "POST", "/v3/kv/put", lambda: key))
    gets = timed(int(times), asker(int(port), "POST", "/v3/kv/range", lambda: '{"key": "bWFkZQ=="}'))
    time.sleep(1)
    return spread("put", puts) | spread("get", gets)


def fetch(port: str, path: str, size: str) -> dict[str, object]:
    """Fetch a file that comes at a limited rate: how long it takes, and between its pieces of 64 KiB."""
    line = http.client.HTTPConnection(HOST, int(port), timeout=60)
    begun = time.monotonic_ns()
    line.request("GET", path)
    answer = line.getresponse()
    came = []
    got = 0
    while text := answer.read(1 << 16):
        got += len(text)
        came.append(time.monotonic_ns())
    if got != int(size):
        sys.exit(f"{got} bytes")
    return {"whole": us(came[-1] - begun), "mib_s": round(got / (came[-1] - begun) * 1e9 / 2**20, 3)}


def gets(port: str, path: str, times: str) -> dict[str, object]:
    """Ask for one thing, again and again."""
    return spread("request", timed(int(times), asker(int(port), "GET", path)))


LOADS = (target, flush, nats, prometheus, influx, etcd, fetch, gets)

if __name__ == "__main__":
    loads: dict[str, Callable[..., dict[str, object]]] = {each.__name__: each for each in LOADS}
    print(json.dumps(loads[sys.argv[1]](*sys.argv[2:])))
