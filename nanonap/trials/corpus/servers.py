"""Real work of servers and of programs that talk to one: on loopback ports, each stopped by SIGTERM."""

import contextlib
import http.server
import json
import re
import socket
import tempfile
import threading
import time

from nanonap.trials.corpus.work import Evidence, digest_of
from nanonap.trials.corpus.workplace import LOOPBACK, WorkFailed, Workplace, digest, expect, fetch, free_port, material


def caddy(at: Workplace) -> Evidence:
    """Serve files; fetch each of them, and one that is not there."""
    source = material(at.folder / "source")
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    first = "part1/file001.txt"
    files = sorted(str(each.relative_to(source)) for each in source.rglob("*") if each.is_file())
    with at.serving(
        "file-server", "--listen", f"{LOOPBACK}:{port}", "--root", source, ready=lambda: fetch(f"{url}/{first}")
    ) as rounds:
        for _ in rounds:
            for name in files:
                expect(name, digest_of(fetch(f"{url}/{name}")), digest(source / name))
            try:
                fetch(f"{url}/absent")
                absent = "found"
            except WorkFailed as error:
                absent = str(error).rpartition(" ")[2]
            expect("status of an absent file", absent, "404")
    return {"served": digest(source), "files": str(len(files)), "absent": absent}


def node_exporter(at: Workplace) -> Evidence:
    """Serve the machine's figures, the right time among them."""
    port = free_port()
    url = f"http://{LOOPBACK}:{port}/metrics"
    with at.serving(f"--web.listen-address={LOOPBACK}:{port}", ready=lambda: fetch(url), end=-15) as rounds:
        for _ in rounds:
            page = fetch(url).decode()
            found = re.search(r"^node_time_seconds (\S+)$", page, re.MULTILINE)
            expect("the time is now", found is not None and abs(float(found[1]) - time.time()) < 5, True)
    wanted = ("node_cpu_seconds_total", "node_memory_MemTotal_bytes", "go_goroutines")
    return {name: str(f"\n{name}" in page) for name in wanted}


def prometheus(at: Workplace) -> Evidence:
    """Scrape itself every 200 ms, answer queries about it; check its settings by promtool."""
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    job = f"[{{job_name: self, static_configs: [{{targets: ['{LOOPBACK}:{port}']}}]}}]"
    text = f"global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs: {job}\n"
    (at.folder / "settings.yml").write_text(text, encoding="ascii")
    at.run("check", "config", "settings.yml", program=1)
    options = ["--config.file=settings.yml", f"--web.listen-address={LOOPBACK}:{port}", "--storage.tsdb.path=data"]
    with at.serving(*options, ready=lambda: fetch(f"{url}/-/ready")) as rounds:
        for _ in rounds:
            scrapes = 0
            deadline = time.monotonic() + 20
            while scrapes < 10 and time.monotonic() < deadline:
                time.sleep(0.5)
                answer = json.loads(fetch(f"{url}/api/v1/query?query=count_over_time(up[1m])"))
                scrapes = max([int(each["value"][1]) for each in answer["data"]["result"]], default=0)
    return {"scraped itself ten times": str(scrapes >= 10)}


def etcd(at: Workplace) -> Evidence:
    """Put and get keys; a key goes with its lease, and not before."""
    client, peer = (f"http://{LOOPBACK}:{free_port()}" for _ in range(2))
    at.settings.update({"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": client})
    options = ["--data-dir=data", f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    options += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    options += [f"--initial-cluster=default={peer}"]
    with at.serving(*options, ready=lambda: fetch(f"{client}/health"), end=-15) as rounds:
        for _ in rounds:
            for number in range(20):
                at.run("put", f"key{number}", f"value {number}", program=1)
            listed = at.run("get", "--prefix", "key", program=1).decode()
            _check_lease(at)
    return {"keys": digest_of(listed), "lines": str(len(listed.splitlines()))}


def _check_lease(at: Workplace) -> None:
    """A lease of two seconds, or of more where the machine is too busy to look at its key in time."""
    for seconds in (2, 8, 32):
        begun = time.monotonic()
        lease = at.run("lease", "grant", str(seconds), program=1).decode().split()[1]
        with contextlib.suppress(WorkFailed):  # the lease is over
            at.run("put", "short", "lived", f"--lease={lease}", program=1)
        key = at.run("get", "short", program=1).decode()
        if key or time.monotonic() < begun + seconds:
            break
    expect("the leased key", key, "short\nlived\n")
    deadline = time.monotonic() + 100
    while key and time.monotonic() < deadline:
        time.sleep(0.2)
        key = at.run("get", "short", program=1).decode()
    expect("the leased key in the end", key, "")


def newer_nats(at: Workplace) -> Evidence:
    """The same as ``nats``, by a release that, asked to end, ends well."""
    return nats(at, 0)


def nats(at: Workplace, end: int = 1) -> Evidence:
    """Carry 5,000 messages from a publisher to a subscriber."""
    port = free_port()
    messages = 5000

    def connect() -> socket.socket:
        line = socket.create_connection((LOOPBACK, port), timeout=20)
        line.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
        _read_until(line, b"PONG\r\n")
        return line

    with at.serving("-a", LOOPBACK, "-p", str(port), ready=lambda: connect().close(), end=end) as rounds:
        for _ in rounds:
            subscriber, publisher = connect(), connect()
            with subscriber, publisher:
                subscriber.sendall(b"SUB topic 1\r\nPING\r\n")
                _read_until(subscriber, b"PONG\r\n")
                for number in range(messages):
                    text = b"message %d" % number
                    publisher.sendall(b"PUB topic %d\r\n%b\r\n" % (len(text), text))
                got = _read_until(subscriber, b"message %d\r\n" % (messages - 1))
                got = got.replace(b"PING\r\n", b"")  # after a second the server asks whether its client is there
            expect("messages", got.count(b"MSG topic 1 "), messages)
    return {"messages": digest_of(got)}


def zabbix_agent(at: Workplace) -> Evidence:
    """Answer what a server asks for, and say no to what is not to be had; its scheduler ticks once a second."""
    port = free_port(range(20_000, 32_767))  # it takes no higher one
    said: dict[str, str] = {}
    (at.folder / "file").write_text("text\n", encoding="ascii")
    lines = [f"Server={LOOPBACK}", f"ListenIP={LOOPBACK}", f"ListenPort={port}", "LogType=console", "Hostname=made"]

    def asked(key: str) -> str:
        with socket.create_connection((LOOPBACK, port), timeout=20) as line:
            line.sendall(b"ZBXD\x01" + len(key).to_bytes(8, "little") + key.encode())
            with line.makefile("rb") as answer:
                return answer.read()[13:].decode()

    def ready() -> None:
        expect("agent.ping", asked("agent.ping"), "1")

    with tempfile.TemporaryDirectory(prefix="nanonap-") as sockets:  # whose paths may have 107 bytes
        lines += [f"{name}={sockets}/{name}" for name in ("PluginSocket", "ControlSocket", "PidFile")]
        (at.folder / "agent.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        with at.serving("-f", "-c", at.folder / "agent.conf", ready=ready) as rounds:
            for _ in rounds:
                for key in ("agent.version", f"vfs.file.md5sum[{at.folder}/file]", "system.run[ls]"):
                    said[key.partition("[")[0]] = asked(key)
                time.sleep(2)
                said["agent.ping"] = asked("agent.ping")
    return said


def influx(at: Workplace) -> Evidence:
    """Write a thousand points, ask for their sum."""
    port, own = free_port(), at.folder
    url = f"http://{LOOPBACK}:{port}"
    at.settings.update(
        {
            "INFLUXDB_HTTP_BIND_ADDRESS": f"{LOOPBACK}:{port}",
            "INFLUXDB_BIND_ADDRESS": f"{LOOPBACK}:{free_port()}",
            "INFLUXDB_META_DIR": str(own / "meta"),
            "INFLUXDB_DATA_DIR": str(own / "data"),
            "INFLUXDB_DATA_WAL_DIR": str(own / "wal"),
            "INFLUXDB_REPORTING_DISABLED": "true",
        }
    )
    (own / "settings.toml").write_text("", encoding="ascii")
    with at.serving("run", "-config", own / "settings.toml", ready=lambda: fetch(f"{url}/ping")) as rounds:
        for _ in rounds:
            fetch(f"{url}/query", b"q=CREATE%20DATABASE%20made")
            lines = "\n".join(f"point value={number} {number + 1}" for number in range(1000))
            fetch(f"{url}/write?db=made", lines.encode())
            answer = fetch(f"{url}/query?db=made&q=SELECT%20sum(value),count(value)%20FROM%20point")
            values = json.loads(answer)["results"][0]["series"][0]["values"][0][1:]
            expect("sum and count", values, [sum(range(1000)), 1000])
    return {"answer": str(values)}


def hey(at: Workplace) -> Evidence:
    """Ask a server 400 times, ten at a time and no faster than told; count the answers."""
    with _Counting() as server:
        said = at.run("-n", "400", "-c", "10", "-q", "50", f"http://{LOOPBACK}:{server.port}/").decode()
    expect("answers that it counted", re.findall(r"\[(\d+)\]\s+(\d+) responses", said), [("200", "400")])
    expect("requests that came", server.requests, 400)
    return {"requests": str(server.requests)}


def pprof(at: Workplace) -> Evidence:
    """Fetch the profile that it was built with from a server that takes its time, and read it in two forms."""
    profile = at.programs[0].with_name("cpu.pprof")
    with _Counting(profile.read_bytes(), wait_s=0.3) as server:
        top = at.run("-top", "-cum", "-nodecount=30", f"http://{LOOPBACK}:{server.port}/")
    raw = at.run("-raw", profile)
    expect("who waited", b"runtime.findRunnable" in raw, True)
    expect("what was fetched", b"runtime.findRunnable" in top, True)
    return {"raw": digest_of(raw)}


class _Counting:
    """An HTTP server on a loopback port that counts its requests."""

    def __init__(self, body: bytes = b"ok", wait_s: float = 0) -> None:
        """Answers ``body`` to every request, after ``wait_s`` seconds."""
        counting = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with counting.lock:
                    counting.requests += 1
                self.send_response(200)
                time.sleep(wait_s)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.lock = threading.Lock()
        self.requests = 0
        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "_Counting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _read_until(line: socket.socket, end: bytes) -> bytes:
    """All bytes up to and with ``end``. Raises OSError where they do not come."""
    got = b""
    while end not in got:
        more = line.recv(1 << 16)
        if not more:
            raise ConnectionError(f"the connection ended before {end!r}")
        got += more
    return got[: got.index(end) + len(end)]
