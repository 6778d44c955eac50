"""The programs of other people that are tried: where each comes from and what it does."""

from collections.abc import Callable
from dataclasses import dataclass

from toolchain.wheels import DEFAULT_GO, WHEELS
from trials.corpus import gobuild, servers, work
from trials.corpus.workplace import Workplace


@dataclass(frozen=True)
class Program:
    """A program and its work.

    ``source`` is ``debian:PACKAGE``, ``npm:NAME@VERSION`` or ``go:RELEASE``; ``besides`` are sources of what it needs
    to run, libraries perhaps. ``paths`` are executables in any of them, the main one first; all are patched. ``does``
    says what the work proves. ``known`` are strategies that are known not to fit it: a refusal of theirs is no news.
    """

    name: str
    source: str
    paths: tuple[str, ...]
    work: Callable[[Workplace], dict[str, str]]
    does: str
    nightly: bool = False
    known: frozenset[str] = frozenset()
    besides: tuple[str, ...] = ()


def _debian(
    name: str,
    does: str,
    job: Callable[[Workplace], dict[str, str]],
    *paths: str,
    package: str = "",
    nightly: bool = False,
    known: frozenset[str] = frozenset(),
    besides: tuple[str, ...] = (),
) -> Program:
    source = f"debian:{package or name}"
    more = tuple(f"debian:{each}" for each in besides)
    return Program(name, source, paths or (f"usr/bin/{name}",), job, does, nightly, known, more)


def _esbuild(version: str, known: frozenset[str] = frozenset(), nightly: bool = True) -> Program:
    source = f"npm:@esbuild/linux-x64@{version}"
    does = "bundles 200 modules; node runs the bundle"
    return Program(f"esbuild-{version}", source, ("package/bin/esbuild",), work.esbuild, does, nightly, known)


def _go(release: str) -> Program:
    tools = ("bin/go", *(f"pkg/tool/linux_amd64/{tool}" for tool in ("compile", "asm", "link")))
    does = "builds a program and all it imports; the same bytes, and it runs"
    return Program(f"go-{release}", f"go:{release}", tools, gobuild.go_build, does, release != DEFAULT_GO)


PROGRAMS = (
    _debian("restic", "backs up twice, checks, restores; the same hashes", work.restic),
    _debian("caddy", "serves 40 files; the same bodies", servers.caddy),
    _debian("esbuild", "bundles 200 modules; node runs the bundle", work.esbuild),
    _debian("rclone", "copies a tree, compares it, lists hashes", work.rclone),
    _debian("age", "makes a key, encrypts, decrypts", work.age, "usr/bin/age", "usr/bin/age-keygen"),
    _debian("fzf", "searches 50,000 lines", work.fzf),
    _debian("hey", "asks a server 400 times at a given rate", servers.hey),
    _debian("nats-server", "carries 5,000 messages", servers.nats, "usr/sbin/nats-server"),
    _debian(
        "node-exporter",
        "serves the machine's figures",
        servers.node_exporter,
        "usr/bin/prometheus-node-exporter",
        package="prometheus-node-exporter",
    ),
    _debian("mkcert", "makes a certificate; a TLS handshake takes it", work.mkcert),
    Program(
        "lefthook",
        "npm:lefthook-linux-x64@2.2.2",
        ("package/bin/lefthook",),
        work.lefthook,
        "runs the eight commands of a Git hook",
    ),
    Program(
        "tsgo",
        "npm:@typescript/native-preview-linux-x64@7.0.0-dev.20260707.2",
        ("package/lib/tsgo",),
        work.tsgo,
        "compiles, finds a type error; node runs the result",
    ),
    _esbuild("0.24.2", nightly=False),
    _go(DEFAULT_GO),
    _debian("gron", "takes JSON apart and makes it whole", work.gron, nightly=True),
    _debian("minify", "minifies CSS, JavaScript, HTML", work.minify, nightly=True),
    _debian("hugo", "builds a site of 200 pages", work.hugo, nightly=True, besides=("libsass1", "libwebp7")),
    _debian("direnv", "runs a command in a folder's environment", work.direnv, nightly=True),
    _debian(
        "skopeo",
        "copies a container image between layouts",
        work.skopeo,
        nightly=True,
        known=frozenset({"sleep"}),
        besides=("libgpgme11", "libassuan0", "libdevmapper1.02.1"),
    ),
    _debian(
        "prometheus",
        "scrapes itself ten times, answers queries",
        servers.prometheus,
        "usr/bin/prometheus",
        "usr/bin/promtool",
        nightly=True,
    ),
    _debian(
        "etcd",
        "keeps keys; a lease of 2 s ends",
        servers.etcd,
        "usr/bin/etcd",
        "usr/bin/etcdctl",
        nightly=True,
        package="etcd-server",
        besides=("etcd-client",),
    ),
    _debian("influxdb", "takes 1,000 points, answers a query", servers.influx, "usr/bin/influxd", nightly=True),
    _debian(
        "dockerd",
        "says its version",
        work.says_version,
        "usr/sbin/dockerd",
        nightly=True,
        package="docker.io",
        known=frozenset({"sleep"}),
        besides=("libdevmapper1.02.1",),
    ),
    Program(
        "buf",
        "npm:@bufbuild/buf-linux-x64@1.75.0",
        ("package/bin/buf",),
        work.buf,
        "compiles and lints 50 Protocol Buffers files",
        nightly=True,
    ),
    _esbuild("0.18.20"),
    _esbuild("0.25.12"),
    _esbuild("0.28.2", known=frozenset({"sleep"})),  # has no build information
    *(_go(release) for release in WHEELS if release != DEFAULT_GO),
)
