"""Bundles: what is in one, that it gives the same bytes, and that nothing is written over."""

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import polars as pl
import pytest

import patcher
from nanonap.base.errors import OutputExists
from nanonap.base.paths import PROJECT
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.main import run_bench
from nanonap.lab.publish.bundle import ABOUT, README, SUMMARY, SUMS, write_bundle
from nanonap.lab.publish.unbundle import read_bundle, redraw_bundle
from nanonap.lab.store.write import RUNS, SAMPLES
from tests.lab.bundles.made_bundles import THE_SAME
from tests.lab.made import GO, Roots


@pytest.mark.long
def test_a_bench_of_a_patched_program_goes_round_byte_by_byte(
    roots: Roots, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    patched = roots.patched / GO / "default" / "sleepbench.netpoll"
    patcher.patch(roots.built, patched, "netpoll", force=True)
    where = {"build_root": roots.build, "patched_root": roots.patched, "results": roots.results}
    folder = run_bench("quick", "stock,netpoll", "100us,1ms", "none", "quiet", seed=7, **where)  # type: ignore[arg-type]
    made = write_bundle(folder, tmp_path / "it.zip", roots.patched)
    files = read_bundle(tmp_path / "it.zip")
    assert made.without_manifest == []
    assert made.files == len(files)
    manifest = patched.with_name("sleepbench.netpoll.patch.json")
    assert files[f"manifests/{GO}/default/sleepbench.netpoll.patch.json"] == manifest.read_bytes()
    assert json.loads(manifest.read_bytes())["output"]["sha256"] in files[f"result/{RUNS}"].decode()
    for path in folder.iterdir():
        assert files[f"result/{path.name}"] == path.read_bytes(), path.name

    capfd.readouterr()
    redraw_bundle(tmp_path / "it.zip", out=tmp_path / "drawn")
    told = capfd.readouterr()
    assert told.out.splitlines()[-1] == str(tmp_path / "drawn" / "report.html")
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


@pytest.mark.long
def test_a_note_that_names_a_folder_is_pointed_out(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    about = json.loads((folder / "bench.json").read_text())
    (folder / "bench.json").write_text(json.dumps({**about, "notes": [f"{PROJECT}/x: no room"]}))
    write_bundle(folder)
    assert "result/bench.json in the bundle names this machine" in capfd.readouterr().err


@pytest.mark.long
def test_bundling_does_not_touch_the_folder_and_draws_what_it_has_not(folder: Path) -> None:
    bundle = Path(write_bundle(folder).bundle)
    assert bundle == folder.with_name("result of mine.zip")
    assert sorted(path.name for path in folder.iterdir()) == sorted(["bench.json", RUNS, SAMPLES])
    assert SUMMARY in read_bundle(bundle)


@pytest.mark.long
def test_a_stale_summary_in_the_folder_is_not_the_one_bundled(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "summary.json").write_text("{}")
    made = write_bundle(folder)
    redraw_bundle(Path(made.bundle), "json")
    assert THE_SAME in capfd.readouterr().err


@pytest.mark.long
def test_a_patched_arm_whose_manifest_is_no_more_is_named(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (folder / RUNS).read_text().splitlines()]
    changed = [
        {**line, "strategy": "netpoll", "binary_sha256": "1" * 64} if line["arm"] == "netpoll" else line
        for line in lines
    ]
    (folder / RUNS).write_text("".join(json.dumps(line) + "\n" for line in changed))
    assert write_bundle(folder).without_manifest == ["netpoll"]
    assert "no manifest is left of netpoll" in capfd.readouterr().err


@pytest.mark.long
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
