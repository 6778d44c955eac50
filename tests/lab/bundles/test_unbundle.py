"""Bundles read back: drawn again, told apart, and refused where they are damaged or ill-willed."""

import json
import random
import stat
import zipfile
from pathlib import Path

import pytest

from nanonap.base.code import code_sha256
from nanonap.base.errors import OutputExists, OutputNotWritable, UsageError
from nanonap.lab.ground.errors import BadBundle
from nanonap.lab.main import redraw
from nanonap.lab.publish import unbundle
from nanonap.lab.publish.bundle import ABOUT, SUMMARY, SUMS
from nanonap.lab.publish.unbundle import compare, differing_versions, read_bundle, redraw_bundle
from nanonap.lab.store.write import RUNS
from tests.lab.bundles.made_bundles import (
    THE_SAME,
    adding,
    refused,
    rewrite,
    without,
)


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


def test_options_that_cannot_be_meant_arerefused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="html, json"):
        redraw_bundle(bundle, "pdf")
    with pytest.raises(UsageError, match="stdout"):
        redraw_bundle(bundle, "json", tmp_path / "x")


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

    refused(rewrite(bundle, change, sums=False), "result/runs.jsonl is not what SHA256SUMS says")


def test_a_missing_and_an_added_file_are_named(bundle: Path) -> None:
    whole = bundle.read_bytes()
    refused(rewrite(bundle, without("result/problem.png"), sums=False), "result/problem.png")
    bundle.write_bytes(whole)
    refused(adding(bundle, "result/more.parquet"), "result/more.parquet")


@pytest.mark.parametrize("name", [SUMS, ABOUT, SUMMARY])
def test_without_one_of_its_papers_it_is_no_bundle(bundle: Path, name: str) -> None:
    refused(rewrite(bundle, without(name), sums=name != SUMS), f"not a bundle, it holds no {name}")


def test_lines_that_are_no_checksums_arerefused(bundle: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[SUMS] = b"# none\n"

    refused(rewrite(bundle, change, sums=False), "is no checksum")


@pytest.mark.parametrize("content", [b"{}", b"[]", b"\xff", b'{"schema": 2, "drawn": {"packages": {}}}'])
def test_papers_that_cannot_be_read_arerefused(bundle: Path, content: bytes) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[ABOUT] = content

    refused(rewrite(bundle, change), "schema 2|cannot be read")


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
    refused(adding(bundle, name), "is not one that a bundle has; nothing was unpacked")


def test_a_name_cut_by_a_nul_isrefused(bundle: Path) -> None:
    adding(bundle, "result/x_y")
    bundle.write_bytes(bundle.read_bytes().replace(b"result/x_y", b"result/x\0y"))
    refused(bundle, "is not one that a bundle has")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO])
def test_links_and_other_files_arerefused(bundle: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("result/link")
    entry.external_attr = (kind | 0o777) << 16
    refused(adding(bundle, entry, b"/etc/passwd"), "result/link is a link")


def test_a_name_twice_or_both_file_and_folder_isrefused(bundle: Path) -> None:
    whole = bundle.read_bytes()
    with pytest.warns(UserWarning, match="Duplicate name"):
        adding(bundle, "result/runs.jsonl")
    refused(bundle, "result/runs.jsonl is in it twice")
    bundle.write_bytes(whole)
    refused(adding(bundle, "result/runs.jsonl/x"), "result/runs.jsonl is in it twice")


def test_what_would_unpack_to_far_more_isrefused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(adding(bundle, "result/bomb.parquet", bytes(300 << 20)), "would unpack to")
    monkeypatch.setattr(unbundle, "MOST_FILES", 5)
    refused(bundle, "more than the 5")


def test_what_is_no_zip_isrefused(tmp_path: Path) -> None:
    (tmp_path / "it.zip").write_text("no zip")
    refused(tmp_path / "it.zip", "not a readable zip file")
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

    redraw_bundle(rewrite(bundle, change), "json")
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
