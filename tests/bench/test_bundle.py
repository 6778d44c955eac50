"""Bundles: what is in one, that it gives the same bytes, is whole or absent, and that a damaged one is refused."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import patcher
from bench import unbundle
from bench.bundle import ABOUT, README, SUMMARY, SUMS, code_sha256, write_bundle
from bench.errors import BadBundle, BadResult
from bench.main import redraw, run_bench
from bench.record import RUNS, SAMPLES
from bench.unbundle import compare, differing_versions, read_bundle, redraw_bundle
from nanonap.errors import DiskFull, Interrupted, OutputExists, OutputNotWritable, UsageError
from nanonap.paths import PROJECT
from tests.bench.made import GO, FakeRun, Roots, write_result

INVOKE = Path(sys.executable).with_name("invoke")
THE_SAME = "is the bundled one, byte for byte"
ABOUT_BENCH = {"command": "invoke bench --quick --seed 7", "seed": 7, "notes": ["Zürich: ≥ 1 note"]}
MEDIANS_US = {"stock": 1100, "netpoll": 180, "netpoll+slack1": 140, "floor": 165, "floor+slack1": 125}


def _runs(blocks: int = 3) -> list[FakeRun]:
    drawn = random.Random(5)  # noqa: S311 - the same figures every time
    return [
        FakeRun(
            arm,
            {
                requested: [requested + drawn.randrange(1, median * 1_000) for _ in range(40)]
                for requested in (100_000, 1_000_000)
            },
            block,
            quota=quota,
            throttling=None if quota == "none" else (10, 3, 5),
            cpu_ns=drawn.randrange(1_000_000),
        )
        for arm, median in MEDIANS_US.items()
        for block in range(blocks)
        for quota in ("none", "50%")
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_result(tmp_path / "result of mine", _runs(), ABOUT_BENCH)


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Drawn once: that takes seconds."""
    where = tmp_path_factory.mktemp("bundled")
    write_bundle(write_result(where / "another", _runs(), ABOUT_BENCH), where / "it.zip")
    return (where / "it.zip").read_bytes()


@pytest.fixture
def bundle(bundled: bytes, tmp_path: Path) -> Path:
    """A bundle of what ``folder`` has."""
    where = tmp_path / "result of mine.zip"
    where.write_bytes(bundled)
    return where


def _rewrite(bundle: Path, change: Callable[[dict[str, bytes]], None], *, sums: bool = True) -> Path:
    """The bundle with its files changed, and (``sums``) the checksums made to fit: what an ill-willed maker can do."""
    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if sums:
        lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in files if name != SUMS)
        files[SUMS] = "".join(lines).encode()
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return bundle


def _without(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        del files[name]

    return change


def _adding(bundle: Path, entry: zipfile.ZipInfo | str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return bundle


def _refused(bundle: Path, match: str) -> None:
    """Refused in every form, and nothing is left."""
    before = sorted(bundle.parent.iterdir())
    for form in ("html", "json"):
        with pytest.raises(BadBundle, match=match):
            redraw_bundle(bundle, form)
    assert sorted(bundle.parent.iterdir()) == before


def test_a_bench_of_a_patched_program_goes_round_byte_by_byte(
    roots: Roots, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    patched = roots.patched / GO / "default" / "sleepbench.netpoll"
    patcher.patch(roots.built, patched, "netpoll", force=True)
    where = {"build_root": roots.build, "patched_root": roots.patched, "results": roots.results}
    folder = run_bench("quick", "stock,netpoll", "100us,1ms", "none", "quiet", seed=7, **where)  # type: ignore[arg-type]
    made = write_bundle(folder, tmp_path / "it.zip", roots.patched)
    files = read_bundle(tmp_path / "it.zip")
    assert made["without_manifest"] == []
    assert made["files"] == len(files)
    manifest = patched.with_name("sleepbench.netpoll.patch.json")
    assert files[f"manifests/{GO}/default/sleepbench.netpoll.patch.json"] == manifest.read_bytes()
    assert json.loads(manifest.read_bytes())["output"]["sha256"] in files[f"result/{RUNS}"].decode()
    for path in folder.iterdir():
        assert files[f"result/{path.name}"] == path.read_bytes(), path.name

    capfd.readouterr()
    redraw_bundle(tmp_path / "it.zip", out=tmp_path / "drawn")
    told = capfd.readouterr()
    assert told.out.strip() == str(tmp_path / "drawn" / "report.html")
    assert THE_SAME in told.err
    for path in (tmp_path / "drawn").iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {path.name for path in folder.iterdir()}


def test_its_checksums_are_those_of_sha256sum_and_cover_every_file(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "out")
    command = ["sha256sum", "--check", "--strict", "--quiet", SUMS]
    assert subprocess.run(command, cwd=tmp_path / "out", check=False).returncode == 0
    listed = {line.split("  ", 1)[1] for line in (tmp_path / "out" / SUMS).read_text().splitlines()}
    there = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert listed == there - {SUMS}
    assert {README, ABOUT, SUMMARY, "result/report.html", "environment/requirements.lock"} <= listed


def test_the_same_result_gives_the_same_bytes_wherever_it_lies(folder: Path, bundle: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "under another name"
    shutil.copytree(folder, elsewhere, copy_function=shutil.copyfile)
    (elsewhere / "notes of mine.txt").write_text("not for others")
    write_bundle(elsewhere, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()


def test_it_names_no_folder_and_no_host(bundle: Path, folder: Path) -> None:
    secrets = [str(PROJECT), str(folder.parent), folder.name, f"{Path.home()}/"]
    texts = {
        name: each.decode() for name, each in read_bundle(bundle).items() if not name.endswith((".png", ".parquet"))
    }
    for name, text in texts.items():
        assert not [secret for secret in secrets if secret in text], name
        assert not re.search(rf'"{re.escape(os.uname().nodename)}"', text), name


def test_a_note_that_names_a_folder_is_pointed_out(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    about = json.loads((folder / "bench.json").read_text())
    (folder / "bench.json").write_text(json.dumps({**about, "notes": [f"{PROJECT}/x: no room"]}))
    write_bundle(folder)
    assert "result/bench.json in the bundle names this machine" in capfd.readouterr().err


def test_bundling_does_not_touch_the_folder_and_draws_what_it_has_not(folder: Path) -> None:
    bundle = Path(write_bundle(folder)["bundle"])
    assert bundle == folder.with_name("result of mine.zip")
    assert sorted(path.name for path in folder.iterdir()) == sorted(["bench.json", RUNS, SAMPLES])
    assert SUMMARY in read_bundle(bundle)


def test_a_stale_summary_in_the_folder_is_not_the_one_bundled(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "summary.json").write_text("{}")
    made = write_bundle(folder)
    redraw_bundle(Path(made["bundle"]), "json")
    assert THE_SAME in capfd.readouterr().err


def test_a_patched_arm_whose_manifest_is_no_more_is_named(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (folder / RUNS).read_text().splitlines()]
    changed = [
        {**line, "strategy": "netpoll", "binary_sha256": "1" * 64} if line["arm"] == "netpoll" else line
        for line in lines
    ]
    (folder / RUNS).write_text("".join(json.dumps(line) + "\n" for line in changed))
    assert write_bundle(folder)["without_manifest"] == ["netpoll"]
    assert "no manifest is left of netpoll" in capfd.readouterr().err


def test_a_bench_that_died_can_be_bundled_with_its_parts(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "parts").mkdir()
    for (run_id,), part in pl.read_parquet(folder / SAMPLES).partition_by(["run_id"], as_dict=True).items():
        part.write_parquet(folder / "parts" / f"{run_id}.parquet")
    (folder / SAMPLES).unlink()
    write_bundle(folder, tmp_path / "it.zip")
    redraw_bundle(tmp_path / "it.zip", "markdown")
    told = capfd.readouterr()
    assert THE_SAME in told.err
    assert "netpoll" in told.out


@pytest.mark.parametrize("form", ["json", "markdown", "benchfmt"])
def test_a_bundle_prints_what_its_folder_prints_and_writes_nothing(
    folder: Path, bundle: Path, form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(bundle.parent.iterdir())
    redraw_bundle(bundle, form)
    from_bundle = capfd.readouterr()
    redraw(folder, form)
    assert from_bundle.out == capfd.readouterr().out
    assert THE_SAME in from_bundle.err
    assert sorted(bundle.parent.iterdir()) == before


def test_the_page_goes_beside_the_bundle_and_never_into_a_used_folder(bundle: Path, tmp_path: Path) -> None:
    moved = bundle.rename(tmp_path / "moved.zip")
    redraw_bundle(moved)
    assert (tmp_path / "moved" / "report.html").exists()
    for used in (None, tmp_path / "moved", moved):
        with pytest.raises(OutputExists, match="--out"):
            redraw_bundle(moved, out=used)
    (tmp_path / "empty").mkdir()
    redraw_bundle(moved, out=tmp_path / "empty")
    with pytest.raises(OutputNotWritable):
        redraw_bundle(moved, out=tmp_path / "no such" / "folder")
    assert not list(tmp_path.glob(".*"))


def test_options_that_cannot_be_meant_are_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="html, json"):
        redraw_bundle(bundle, "pdf")
    with pytest.raises(UsageError, match="stdout"):
        redraw_bundle(bundle, "json", tmp_path / "x")


def test_a_file_that_is_there_is_never_overwritten(folder: Path, bundle: Path, tmp_path: Path) -> None:
    before = bundle.read_bytes()
    with pytest.raises(OutputExists, match="remove it first"):
        write_bundle(folder)
    assert bundle.read_bytes() == before
    dangling = tmp_path / "link.zip"
    dangling.symlink_to("nowhere")
    with pytest.raises(OutputExists):
        write_bundle(folder, dangling)


def test_what_is_no_result_is_not_bundled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for where in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(BadResult):
            write_bundle(where)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_any_changed_byte_is_found_or_changes_nothing(bundle: Path) -> None:
    whole, files = bundle.read_bytes(), read_bundle(bundle)
    drawn = random.Random(3)  # noqa: S311 - as above
    refused = 0
    for at in [drawn.randrange(len(whole)) for _ in range(60)]:
        bundle.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << drawn.randrange(8))]) + whole[at + 1 :])
        try:
            assert read_bundle(bundle) == files
        except BadBundle:
            refused += 1
    assert refused > 50
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        bundle.write_bytes(whole[:size])
        with pytest.raises(BadBundle):
            read_bundle(bundle)


def test_a_changed_file_is_named(bundle: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[f"result/{RUNS}"] = files[f"result/{RUNS}"].replace(b"200000000", b"200000001", 1)

    _refused(_rewrite(bundle, change, sums=False), "result/runs.jsonl is not what SHA256SUMS says")


def test_a_missing_and_an_added_file_are_named(bundle: Path) -> None:
    whole = bundle.read_bytes()
    _refused(_rewrite(bundle, _without("result/problem.png"), sums=False), "result/problem.png")
    bundle.write_bytes(whole)
    _refused(_adding(bundle, "result/more.parquet"), "result/more.parquet")


@pytest.mark.parametrize("name", [SUMS, ABOUT, SUMMARY])
def test_without_one_of_its_papers_it_is_no_bundle(bundle: Path, name: str) -> None:
    _refused(
        _rewrite(bundle, _without(name), sums=name != SUMS), f"not a bundle of `invoke bundle`, it holds no {name}"
    )


def test_lines_that_are_no_checksums_are_refused(bundle: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[SUMS] = b"# none\n"

    _refused(_rewrite(bundle, change, sums=False), "is no checksum")


@pytest.mark.parametrize("content", [b"{}", b"[]", b"\xff", b'{"schema": 2, "drawn": {"packages": {}}}'])
def test_papers_that_cannot_be_read_are_refused(bundle: Path, content: bytes) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[ABOUT] = content

    _refused(_rewrite(bundle, change), "schema 2|cannot be read")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/x",
        "../x",
        "result/../../x",
        "result//x",
        "a\\b",
        "result/",
        "./x",
        ".hidden",
        "a\nb",
        "résult",
        "C:/x",
        "a/.",
    ],
)
def test_names_that_lead_elsewhere_are_refused_before_anything_is_written(bundle: Path, name: str) -> None:
    _refused(_adding(bundle, name), "is not one that a bundle has; nothing was unpacked")


def test_a_name_cut_by_a_nul_is_refused(bundle: Path) -> None:
    _adding(bundle, "result/x_y")
    bundle.write_bytes(bundle.read_bytes().replace(b"result/x_y", b"result/x\0y"))
    _refused(bundle, "is not one that a bundle has")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO])
def test_links_and_other_files_are_refused(bundle: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("result/link")
    entry.external_attr = (kind | 0o777) << 16
    _refused(_adding(bundle, entry, b"/etc/passwd"), "result/link is a link")


def test_a_name_twice_or_both_file_and_folder_is_refused(bundle: Path) -> None:
    whole = bundle.read_bytes()
    with pytest.warns(UserWarning, match="Duplicate name"):
        _adding(bundle, "result/runs.jsonl")
    _refused(bundle, "result/runs.jsonl is in it twice")
    bundle.write_bytes(whole)
    _refused(_adding(bundle, "result/runs.jsonl/x"), "result/runs.jsonl is in it twice")


def test_what_would_unpack_to_far_more_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _refused(_adding(bundle, "result/bomb.parquet", bytes(300 << 20)), "would unpack to")
    monkeypatch.setattr(unbundle, "MOST_FILES", 5)
    _refused(bundle, "more than the 5")


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "it.zip").write_text("no zip")
    _refused(tmp_path / "it.zip", "not a readable zip file")
    with pytest.raises(BadBundle, match="no such file"):
        redraw_bundle(tmp_path / "none.zip")


def test_a_summary_that_is_not_the_raw_datas_is_told_with_what_differs(
    bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def change(files: dict[str, bytes]) -> None:
        summary = json.loads(files[SUMMARY])
        summary["cells"][2]["p50_ns"] += 1
        del summary["cells"][0]["stdev_ns"]
        about = json.loads(files[ABOUT])
        about["drawn"]["packages"]["numpy"] = "1.0"
        about["code_sha256"] = "0"
        files[SUMMARY], files[ABOUT] = json.dumps(summary).encode(), json.dumps(about).encode()

    redraw_bundle(_rewrite(bundle, change), "json")
    told = capfd.readouterr().err
    assert "1 of its figures differ (cells[2].p50_ns), 1 fields are new" in told
    assert "1.0 there" in told
    assert "nanonap's own code" in told


def test_comparing_tells_changed_from_added() -> None:
    assert compare({"a": [1, 2.0], "b": None}, {"a": [1, 2.0], "b": None}) == ([], 0)
    assert compare({"a": [1]}, {"a": [1], "b": {"c": 1}}) == ([], 1)
    assert compare({"a": [1, 2], "b": 1}, {"a": [1], "c": 3}) == (["a[1]", "b"], 1)
    assert compare({"a": 1}, {"a": 1.0}) == (["a"], 0)
    assert compare({"a": {"b": 1}}, {"a": 1}) == (["a"], 0)


def test_the_versions_here_are_those_of_a_bundle_made_here(bundle: Path) -> None:
    about = json.loads(read_bundle(bundle)[ABOUT])
    assert differing_versions(about) == []
    assert about["code_sha256"] == code_sha256()


def _draw_elsewhere(folder: Path, cwd: Path, **environment: str) -> dict[str, bytes]:
    code = (
        "import sys; from pathlib import Path; from bench.report import write_report; write_report(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    subprocess.run(command, cwd=cwd, env={**os.environ, "PYTHONPATH": str(PROJECT), **environment}, check=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_figures_do_not_depend_on_threads_hashes_locale_zone_or_processor(folder: Path, tmp_path: Path) -> None:
    """Of another processor numpy and BLAS would use other instructions, which may sum in another order."""
    optional = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    other = write_result(tmp_path / "elsewhere" / "x", _runs(), json.loads((folder / "bench.json").read_text()))
    one = _draw_elsewhere(
        folder, tmp_path, PYTHONHASHSEED="1", POLARS_MAX_THREADS="1", TZ="Asia/Tokyo", LC_ALL="C", PYTHONUTF8="0"
    )
    two = _draw_elsewhere(
        other,
        Path("/"),
        PYTHONHASHSEED="2",
        POLARS_MAX_THREADS="2",
        TZ="America/St_Johns",
        LC_ALL="C.UTF-8",
        NPY_DISABLE_CPU_FEATURES=" ".join(optional),
        OPENBLAS_CORETYPE="Nehalem",
    )
    assert {name for name in one if name != SAMPLES and one[name] != two[name]} == set()
    assert {"summary.json", "report.html", "problem.png"} <= one.keys()


def _invoke(*words: str | Path, temporary: Path, around: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [*around, str(INVOKE), *map(str, words)]
    return subprocess.Popen(
        command, cwd=PROJECT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_the_two_tasks(folder: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    made = _invoke("bundle", folder, "--out", tmp_path / "it.zip", "--json", temporary=temporary)
    stdout, stderr = made.communicate(timeout=200)
    assert made.returncode == 0, stderr
    assert json.loads(stdout)["sha256"] == hashlib.sha256((tmp_path / "it.zip").read_bytes()).hexdigest()
    (tmp_path / "it.zip").write_bytes((tmp_path / "it.zip").read_bytes()[:-9])
    read = _invoke("report", tmp_path / "it.zip", temporary=temporary)
    stdout, stderr = read.communicate(timeout=200)
    assert (read.returncode, stdout) == (BadBundle.exit_code, "")
    assert stderr.startswith("nanonap: ")
    assert not list(temporary.iterdir())


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children take SIGINT, also where the tests run in the background of a shell, which ignores it for them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_bundle_leaves_nothing(folder: Path, tmp_path: Path, number: signal.Signals) -> None:
    where, temporary = tmp_path / "where", tmp_path / "temporary"
    where.mkdir()
    temporary.mkdir()
    process = _invoke("bundle", folder, "--out", where / "it.zip", temporary=temporary)
    while not list(temporary.glob("nanonap-bundle-*/result/summary.json")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.communicate(timeout=200) == ("", "nanonap: interrupted; nothing half-written is left\n")
    assert process.returncode == Interrupted.exit_code
    assert not list(where.iterdir())
    assert not list(temporary.iterdir())


FULL_DISK = 'mount -t tmpfs -o size=100k none "$1" && d=$1 && shift && { "$@"; s=$?; ls -A "$d"; exit $s; }'


def test_a_full_disk_is_said_so_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    small, temporary = tmp_path / "small", tmp_path / "temporary"
    small.mkdir()
    temporary.mkdir()
    around = ("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", FULL_DISK, "sh", str(small))
    if subprocess.run([*around, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root, to mount a small file system in a namespace")
    done = _invoke("bundle", folder, "--out", small / "it.zip", temporary=temporary, around=around)
    stdout, stderr = done.communicate(timeout=200)
    assert done.returncode == DiskFull.exit_code, stderr
    assert "it.zip: no room" in stderr
    assert stdout == ""
