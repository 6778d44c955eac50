"""Real work of programs that run and end. Each function does it once and gives what it proved, arm by arm equal."""

import hashlib
import json
import shutil
import ssl

from nanonap.trials.corpus.workplace import LOOPBACK, WorkFailed, Workplace, digest, expect, material

Evidence = dict[str, str]
_MODULES, _BUNDLE = range(200), "out/app.js"


def restic(at: Workplace) -> Evidence:
    """Back up, check every byte, restore; back up again after a change and restore that."""
    source = material(at.folder / "source")
    at.settings.update({"RESTIC_REPOSITORY": str(at.folder / "repository"), "RESTIC_PASSWORD": "a password"})
    at.run("init")
    hashes = []
    for change in range(2):
        (source / "changed.txt").write_text(f"change {change}\n", encoding="ascii")
        at.run("backup", "source")
        at.run("check", "--read-data")
        out = at.folder / f"restored{change}"
        at.run("restore", "latest", "--target", out)
        (restored,) = out.rglob("source")
        expect("restored files", digest(restored), digest(source))
        hashes.append(digest(restored))
    return {"restored": " ".join(hashes)}


def rclone(at: Workplace) -> Evidence:
    """Copy a tree, compare it with its source, and list its hashes."""
    source = material(at.folder / "source")
    at.settings["RCLONE_CONFIG"] = str(at.folder / "none.conf")
    at.run("copy", "source", "copied", "--transfers", "4")
    at.run("check", "source", "copied", "--download")
    expect("copied files", digest(at.folder / "copied"), digest(source))
    listed = at.run("hashsum", "MD5", "copied")
    return {"copied": digest(source), "hashsum": "\n".join(sorted(listed.decode().splitlines()))}


def age(at: Workplace) -> Evidence:
    """Make a key, encrypt to it, decrypt, compare."""
    secret = material(at.folder / "source") / "part4" / "file039.txt"
    at.run("-o", "key", program=1)
    recipient = at.run("-y", "key", program=1).decode().strip()
    at.run("-r", recipient, "-o", "secret.age", secret)
    expect("ciphertext is the text", (at.folder / "secret.age").read_bytes() == secret.read_bytes(), False)
    at.run("-d", "-i", "key", "-o", "secret", "secret.age")
    expect("decrypted file", digest(at.folder / "secret"), digest(secret))
    return {"decrypted": digest(at.folder / "secret")}


def fzf(at: Workplace) -> Evidence:
    """Search 50,000 lines."""
    lines = "".join(f"path/{number % 97}/name-{number}.go\n" for number in range(50_000)).encode()
    found = at.run("--filter", "'42/ 'name '77", stdin=lines).decode().splitlines()
    expect("the lines found hold what was searched for", all("42/" in line and "77" in line for line in found), True)
    expect("something is found", bool(found), True)
    return {"lines": str(len(found)), "sha256": digest_of("\n".join(found))}


def gron(at: Workplace) -> Evidence:
    """Take a JSON document apart into lines and make it whole again."""
    document = {f"key{number}": [number, {"text": f"é{number}"}, None, True] for number in range(3000)}
    lines = at.run(stdin=json.dumps(document).encode())
    expect("lines of the document", len(lines.splitlines()) > 15_000, True)
    expect("the document again", json.loads(at.run("--ungron", stdin=lines)), document)
    return {"lines": digest_of(lines.decode())}


def minify(at: Workplace) -> Evidence:
    """Make style sheets, scripts and pages smaller."""
    made = {
        "a.css": "body {  color : #ff0000 ; margin: 0px 0px 0px 0px; }\n" * 2000,
        "a.js": "function add ( first , second ) { /* note */ return first + second ; }\n" * 2000,
        "a.html": "<p>  many   spaces  </p>\n<!-- note -->\n" * 2000,
    }
    evidence = {}
    for name, text in made.items():
        (at.folder / name).write_text(text, encoding="ascii")
        small = at.run(name)
        expect(f"{name} is smaller", 0 < len(small) < len(text), True)
        evidence[name] = digest_of(small.decode())
    return evidence


def hugo(at: Workplace) -> Evidence:
    """Build a site of 200 pages."""
    site = at.folder / "site"
    layouts = site / "layouts" / "_default"
    (site / "content").mkdir(parents=True)
    layouts.mkdir(parents=True)
    (site / "config.toml").write_text('baseURL = "https://example.org/"\ntitle = "Site"\n', encoding="ascii")
    (layouts / "single.html").write_text("<h1>{{ .Title }}</h1>{{ .Content }}", encoding="ascii")
    (layouts / "list.html").write_text("{{ range .Pages }}<a href={{ .Permalink }}></a>{{ end }}", encoding="ascii")
    for number in range(200):
        page = f"---\ntitle: Page {number}\ndate: 2020-01-01\n---\n# Head\n\n*Some* text {number}.\n"
        (site / "content" / f"page{number}.md").write_text(page, encoding="ascii")
    at.run("--source", site, "--destination", at.folder / "public", "--quiet")
    page = (at.folder / "public" / "page7" / "index.html").read_text(encoding="utf-8")
    expect("page 7", "<h1>Page 7</h1>" in page and "<em>Some</em> text 7." in page, True)
    return {"site": digest(at.folder / "public")}


def esbuild(at: Workplace) -> Evidence:
    """Bundle and minify 200 modules; the bundle runs and says what it must."""
    evidence = bundles(at)
    expect("the bundle's word", _by_node(at, _BUNDLE), f"sum {sum(_MODULES)}\n")
    return evidence


def bundles(at: Workplace) -> Evidence:
    """The same where no node is: what is not used is not in the bundle."""
    for number in _MODULES:
        text = f"export const value{number}: number = {number};\nexport const unused{number} = 'nothing';\n"
        (at.folder / f"module{number}.ts").write_text(text, encoding="ascii")
    imports = "".join(f"import {{ value{number} }} from './module{number}';\n" for number in _MODULES)
    total = " + ".join(f"value{number}" for number in _MODULES)
    (at.folder / "app.ts").write_text(f"{imports}console.log('sum', {total});\n", encoding="ascii")
    options = ["--bundle", "--minify", "--sourcemap", "--platform=node", "--log-level=error"]
    at.run("app.ts", *options, f"--outfile={_BUNDLE}")
    text = (at.folder / _BUNDLE).read_text(encoding="ascii")
    expect("words of the bundle", ("'sum'" in text.replace('"', "'"), "nothing" in text), (True, False))
    return {"bundle": digest(at.folder / "out")}


def tsgo(at: Workplace) -> Evidence:
    """Compile and type-check a program; find the error in a wrong one; run what was compiled."""
    text = "interface Point { x: number; y: number }\nconst at: Point = { x: 3, y: 4 };\n"
    right = text + "console.log('length', Math.hypot(at.x, at.y));\n"
    (at.folder / "right.ts").write_text(right, encoding="ascii")
    (at.folder / "wrong.ts").write_text("const text: string = 5;\n", encoding="ascii")
    at.run("--target", "es2020", "--outDir", "out", "--types", "", "right.ts")
    expect("the program's word", _by_node(at, "out/right.js"), "length 5\n")
    said = at.run("--noEmit", "--types", "", "wrong.ts", status=1).decode()
    expect("the error is found", "TS2322" in said, True)
    return {"compiled": digest(at.folder / "out"), "error": said}


def lefthook(at: Workplace) -> Evidence:
    """Run the commands of a Git hook, four at a time."""
    at.run("init", "--quiet", program="git")
    commands = "".join(f"    c{each}:\n      run: sleep 0.1 && echo ran > ran{each}\n" for each in range(8))
    (at.folder / "lefthook.yml").write_text(f"pre-commit:\n  parallel: true\n  commands:\n{commands}", encoding="ascii")
    (at.folder / "file").write_text("staged\n", encoding="ascii")
    at.run("add", "file", program="git")
    at.run("install")
    at.run("run", "pre-commit", "--force")
    ran = sorted(each.name for each in at.folder.glob("ran*") if each.read_text(encoding="ascii") == "ran\n")
    expect("commands that ran", len(ran), 8)
    return {"ran": " ".join(ran)}


def buf(at: Workplace) -> Evidence:
    """Compile Protocol Buffers and lint them."""
    (at.folder / "buf.yaml").write_text("version: v1\n", encoding="ascii")
    folder = at.folder / "made" / "v1"
    folder.mkdir(parents=True)
    for number in range(50):
        text = f'syntax = "proto3";\npackage made.v1;\nmessage Made{number} {{\n  string name = 1;\n}}\n'
        (folder / f"made{number}.proto").write_text(text, encoding="ascii")
    at.run("build", "-o", "image.bin")
    at.run("lint")
    (folder / "wrong.proto").write_text('syntax = "proto3";\npackage other;\n', encoding="ascii")
    said = at.run("lint", status=100).decode()
    expect("the wrong package is found", "wrong.proto" in said, True)
    return {"image": digest(at.folder / "image.bin"), "lint": said}


def direnv(at: Workplace) -> Evidence:
    """Run a command in a folder's own environment."""
    (at.folder / ".envrc").write_text("export GREETING=hello\nPATH_add own\n", encoding="ascii")
    at.run("exec", ".", "true", status=1)  # not allowed yet
    at.run("allow", ".")
    said = at.run("exec", ".", "sh", "-c", 'echo "$GREETING ${PATH%%:*}"').decode()
    expect("the environment", said.strip(), f"hello {at.folder.resolve()}/own")
    return {"greeting": said.split()[0]}


def mkcert(at: Workplace) -> Evidence:
    """Make a certificate authority and a certificate that a TLS handshake accepts."""
    authority = at.folder / "authority"
    at.run("-cert-file", "cert.pem", "-key-file", "key.pem", "localhost", LOOPBACK, own={"CAROOT": str(authority)})
    here = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    here.load_cert_chain(at.folder / "cert.pem", at.folder / "key.pem")
    there = ssl.create_default_context(cafile=str(authority / "rootCA.pem"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = here.wrap_bio(to_server, to_client, server_side=True)
    client = there.wrap_bio(to_client, to_server, server_hostname="localhost")
    waiting = [client, server]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    expect("sides that still shake hands", len(waiting), 0)
    certificate = client.getpeercert() or {}
    return {"names": str(certificate.get("subjectAltName"))}


def buildifier(at: Workplace) -> Evidence:
    """Format a build file and find that another is not formatted."""
    text = 'cc_library(srcs=["b.cc","a.cc"],name="made")\n' * 500
    made = at.run("-type=build", stdin=text.encode())
    expect("the first lines", made.splitlines()[:2], [b"cc_library(", b'    name = "made",'])
    at.run("-type=build", "-mode=check", stdin=text.encode(), status=4)
    at.run("-type=build", "-mode=check", stdin=made)
    return {"formatted": digest_of(made)}


def gofmt(at: Workplace) -> Evidence:
    """Format 3,000 lines of Go."""
    made = at.run(stdin=b"package  made\n" + b"func  f ( ) { if true {  return  } }\n" * 3000)
    expect("a line", made.splitlines()[2], b"func f() {")
    return {"formatted": digest_of(made)}


def shfmt(at: Workplace) -> Evidence:
    """Format a shell script of 4,000 lines, and find that it was not formatted."""
    made = at.run(stdin=b"if true;then\necho   $( date );fi\n" * 2000)
    expect("the first lines", made.splitlines()[:2], [b"if true; then", b"\techo $(date)"])
    at.run("-d", stdin=b"echo   one\n", status=1)
    at.run("-d", stdin=made)
    return {"formatted": digest_of(made)}


def dbmate(at: Workplace) -> Evidence:
    """Bring a database up by two migrations and back by one."""
    folder = at.folder / "db" / "migrations"
    folder.mkdir(parents=True)
    for number, table in enumerate(("first", "second")):
        text = f"-- migrate:up\ncreate table {table} (id integer);\n-- migrate:down\ndrop table {table};\n"
        (folder / f"2020010100000{number}_{table}.sql").write_text(text, encoding="ascii")
    options = ("--url", f"sqlite:{at.folder}/made.sqlite3", "--no-dump-schema")
    at.run(*options, "up")
    both = at.run(*options, "status").decode()
    at.run(*options, "down")
    one = at.run(*options, "status").decode()
    expect("applied, then and in the end", (both.count("[X]"), one.count("[X]")), (2, 1))
    return {"status": both + one}


def says_version(at: Workplace) -> Evidence:
    """Say its version: for a program whose real work needs more than a test may have."""
    return {"version": at.run("--version").decode()}


def digest_of(text: str | bytes) -> str:
    """SHA-256 (hex) of a text (UTF-8) or bytes."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def _by_node(at: Workplace, script: str) -> str:
    if shutil.which("node") is None:
        raise WorkFailed("node is not on PATH: apt-get install nodejs")
    return at.run(script, program="node").decode()
