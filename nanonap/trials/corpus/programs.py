"""The programs of other people that are tried: where each comes from and what it does."""

from collections.abc import Callable
from dataclasses import dataclass

from nanonap.toolchain.patched import Variant
from nanonap.toolchain.wheels import DEFAULT_GO, WHEELS
from nanonap.trials.corpus import daemon, gobuild, images, servers, work
from nanonap.trials.corpus.arms import chosen_arms
from nanonap.trials.corpus.workplace import Workplace


@dataclass(frozen=True)
class Program:
    """A program and its work.

    ``source`` is ``debian:PACKAGE``, ``npm:NAME@VERSION``, ``go:RELEASE`` or ``pgo:RELEASE``; ``besides`` are sources
    of what it needs to run, libraries perhaps. ``paths`` are executables in any of them, the main one first; all are
    patched. ``does`` says what the work proves. ``known`` are strategies and arms that are known not to fit it: a
    refusal of theirs is no news. ``also`` are arms that are tried whichever are asked for. ``filters`` are packages
    that must be named since they set a system call filter. ``counted``: with strategy netpoll the work is done once
    more under strace, and no wait may be in whole milliseconds. ``live``: a server, to change as it runs.
    """

    name: str
    source: str
    paths: tuple[str, ...]
    work: Callable[[Workplace], dict[str, str]]
    does: str
    nightly: bool = False
    known: frozenset[str] = frozenset()
    besides: tuple[str, ...] = ()
    also: tuple[Variant, ...] = ()
    filters: frozenset[str] = frozenset()
    counted: bool = False
    live: bool = False


def _debian(
    name: str,
    does: str,
    job: Callable[[Workplace], dict[str, str]],
    *paths: str,
    package: str = "",
    nightly: bool = False,
    known: frozenset[str] = frozenset(),
    besides: tuple[str, ...] = (),
    also: tuple[Variant, ...] = (),
    filters: frozenset[str] = frozenset(),
    counted: bool = False,
    live: bool = False,
) -> Program:
    source = f"debian:{package or name}"
    more = tuple(f"debian:{each}" for each in besides)
    paths = paths or (f"usr/bin/{name}",)
    return Program(name, source, paths, job, does, nightly, known, more, also, filters, counted, live)


def _esbuild(version: str, nightly: bool = True) -> Program:
    source = f"npm:@esbuild/linux-x64@{version}"
    does = "bundles 200 modules; node runs the bundle"
    return Program(f"esbuild-{version}", source, ("package/bin/esbuild",), work.esbuild, does, nightly)


def _go(release: str) -> Program:
    tools = ("bin/go", *_TOOLS)
    return Program(f"go-{release}", f"go:{release}", tools, gobuild.go_build, _BUILDS, release != DEFAULT_GO)


def _profiled(name: str, does: str, job: Callable[[Workplace], dict[str, str]], folder: str = "profiled") -> Program:
    """One of Go's own programs, built with a profile: see nanonap/trials/corpus/profiled.py."""
    more, besides = (_TOOLS, (f"go:{DEFAULT_GO}",)) if name == "go" else ((), ())
    source, paths = f"pgo:{DEFAULT_GO}", (f"{folder}/{name}", *more)
    full_name = f"{name}-pgo" + f"-{folder}" * (folder != "profiled")
    return Program(full_name, source, paths, job, does, nightly=True, besides=besides, counted=True)


_TOOLS = tuple(f"pkg/tool/linux_amd64/{tool}" for tool in ("compile", "asm", "link"))
_BUILDS = "builds a program and all it imports; the same bytes, and it runs"

PROGRAMS = (
    _debian("restic", "backs up twice, checks, restores; the same hashes", work.restic),
    _debian("caddy", "serves 40 files; the same bodies", servers.caddy, live=True),
    _debian("esbuild", "bundles 200 modules; node runs the bundle", work.esbuild),
    _debian("rclone", "copies a tree, compares it, lists hashes", work.rclone),
    _debian("age", "makes a key, encrypts, decrypts", work.age, "usr/bin/age", "usr/bin/age-keygen"),
    _debian("fzf", "searches 50,000 lines", work.fzf),
    _debian("hey", "asks a server 400 times at a given rate", servers.hey),
    _debian("nats-server", "carries 5,000 messages", servers.nats, "usr/sbin/nats-server", live=True),
    _debian(
        "node-exporter",
        "serves the machine's figures",
        servers.node_exporter,
        "usr/bin/prometheus-node-exporter",
        package="prometheus-node-exporter",
        live=True,
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
        images.skopeo,
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
        live=True,
    ),
    _debian(
        "etcd",
        "keeps keys; one goes with its lease",
        servers.etcd,
        "usr/bin/etcd",
        "usr/bin/etcdctl",
        nightly=True,
        package="etcd-server",
        besides=("etcd-client",),
        live=True,
    ),
    _debian(
        "influxdb", "takes 1,000 points, answers a query", servers.influx, "usr/bin/influxd", nightly=True, live=True
    ),
    _debian(
        "dockerd",
        "runs a container of an image that it imports",
        daemon.dockerd,
        "usr/sbin/dockerd",
        nightly=True,
        package="docker.io",
        known=frozenset({"sleep"}),
        besides=("libdevmapper1.02.1", "containerd", "runc", "libseccomp2", "busybox-static"),
        live=True,
    ),
    _debian(
        "zabbix-agent2",
        "answers what a Zabbix server asks",
        servers.zabbix_agent,
        "usr/sbin/zabbix_agent2",
        counted=True,
        live=True,
    ),
    _debian(
        "podman",
        "imports an image, saves it, removes it",
        images.podman,
        nightly=True,
        besides=("libsubid4", "libgpgme11", "libassuan0", "libdevmapper1.02.1", "libseccomp2"),
        also=chosen_arms("sleep"),
        filters=frozenset({"github.com/seccomp/libseccomp-golang"}),
    ),
    # With its filter, which is for stock's calls, patched it dies; that it may is what must be said.
    _debian(
        "runsc",
        "says its version; that it sets a filter is named",
        work.says_version,
        nightly=True,
        filters=frozenset({"gvisor.dev/gvisor/pkg/seccomp"}),
    ),
    Program(
        "buildifier",
        "npm:@bazel/buildifier@6.4.0",
        ("package/buildifier-linux_amd64",),
        work.buildifier,
        "formats a build file",
        nightly=True,
        also=chosen_arms("netpoll+slack1+quantum,netpoll+slack1+spin"),
        known=frozenset({"netpoll+slack1+quantum", "netpoll+slack1+spin"}),  # the room is a few bytes short
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
    _esbuild("0.28.2"),  # has no build information
    *(_go(release) for release in WHEELS if release != DEFAULT_GO),
    _profiled("go", _BUILDS, gobuild.go_build),
    _profiled("gofmt", "formats Go's own source", gobuild.gofmt),
    _profiled("gofmt", "formats Go's own source", gobuild.gofmt, "inlined"),
    _profiled("pprof", "fetches the profile that it was built with, and reads it", servers.pprof),
)
