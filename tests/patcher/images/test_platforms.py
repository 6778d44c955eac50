"""Indexes of several platforms, attestations, foreign layers, layers on top, and layers that may not change."""

import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import UsageError
from nanonap.toolchain.releases import NEWEST
from patcher.errors import NotGo, WrongArchitecture
from patcher.images import label
from patcher.images.documents import digest_of
from patcher.images.errors import LayerFixed
from tests.patcher.arm64.builds import build
from tests.patcher.images.conftest import CAPABILITY, Case
from tests.patcher.images.made import Document, Layout, Tar, as_it_is, docker_archive, inside, look, zstd
from tests.patcher.images.test_files import GO, C


def attestation(layout: Layout, about: Document) -> Document:
    """As BuildKit adds one for each image of an index."""
    statement, kind = b'{"predicateType": "https://slsa.dev/provenance/v1"}', "application/vnd.in-toto+json"
    made = layout.image([statement], as_it_is, of_layer=kind, architecture="unknown")
    annotations = {
        "vnd.docker.reference.digest": about["digest"],
        "vnd.docker.reference.type": "attestation-manifest",
    }
    return {**made, "platform": {"architecture": "unknown", "os": "unknown"}, "annotations": annotations}


@pytest.fixture(scope="module")
def several(service: bytes, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A nested index: amd64 (docker's schema 2), a variant that cannot be patched, arm64, and attestations."""
    folder = tmp_path_factory.mktemp("several")
    layout = Layout(folder / "image")
    base, top = Tar().add("etc/x", b"x").bytes(), Tar().add("app", service).bytes()
    amd = layout.image([base, top], docker=True, Entrypoint=["/app"])
    arm = layout.image([base, Tar().add("app", C).bytes()], architecture="arm64", Entrypoint=["/app"])
    other = layout.image([base, Tar().add("bin/sh", C).bytes()], Entrypoint=["/bin/sh"])
    about = [attestation(layout, each) for each in (amd, arm)]
    signature = layout.image([b"{}"], as_it_is)
    signature = {
        **signature,
        "annotations": {"org.opencontainers.image.ref.name": f"{amd['digest']}.sig".replace(":", "-")},
    }
    missing = {**arm, "digest": "sha256:" + "1" * 64, "platform": {"architecture": "riscv64", "os": "linux"}}
    inner = {"schemaVersion": 2, "manifests": [amd, arm, other, missing, *about]}
    named = layout.blob(json.dumps(inner, indent=3).encode(), "application/vnd.oci.image.index.v1+json")
    name = {"annotations": {"io.containerd.image.name": "docker.io/library/app:1"}, "data": "e30="}
    source = layout.done({**named, **name}, signature)
    return Case(source, (base, top), folder / "out.tar", patcher.patch_image(source, f"oci-archive:{folder}/out.tar"))


def test_what_can_be_patched_is_and_the_others_are_named_and_carried_over(several: Case) -> None:
    done = several.done
    assert [each.platform for each in done.images] == ["linux/amd64"]
    assert [(each.platform, each.reason.partition(": ")[2]) for each in done.left] == [
        ("linux/arm64", "linux/arm64: where no platform is named, linux/amd64's images are patched"),
        ("linux/amd64", "what it starts (/bin/sh) is no Go program, and there is no other in it (linux/amd64)"),
    ]
    before, after = look(several.source), look(several.out)
    [old, _], [new] = before.index["manifests"], after.index["manifests"]
    assert new["annotations"] == old["annotations"]
    assert "data" not in new  # a copy of what the old digest names
    raw = after.get(new)
    was, now = json.loads(before.get(old)), json.loads(raw)
    assert raw == json.dumps(now, indent=3).encode()
    assert now["manifests"][1:4] == was["manifests"][1:4]
    assert len(now["manifests"]) == 5
    assert now["manifests"][4] == was["manifests"][5]  # the attestation of arm64
    amd = json.loads(after.get(now["manifests"][0]))
    assert [each["mediaType"] for each in amd["layers"]] == ["application/vnd.docker.image.rootfs.diff.tar.gzip"] * 2
    for each in now["manifests"][1:3]:
        manifest = json.loads(after.get(each))
        assert all(one["digest"] in after.blobs for one in [manifest["config"], *manifest["layers"]])


def test_what_was_said_of_the_old_image_is_left_out_and_told(several: Case) -> None:
    told = [each for each in several.done.warnings if "left out" in each]
    assert len(told) == 2
    assert all(several.done.images[0].before.manifest in each for each in told)  # type: ignore[operator]


def test_docker_loads_the_one_image_that_most_machines_can_run(several: Case) -> None:
    with tarfile.open(several.out) as tar:
        stream = tar.extractfile("manifest.json")
        assert stream is not None
        [listed] = json.loads(stream.read())
    assert listed["RepoTags"] == ["app:1"]
    assert listed["Config"].endswith(several.done.images[0].after.config.removeprefix("sha256:"))


def test_a_revert_gives_each_image_of_the_index_its_digest_back(several: Case, tmp_path: Path) -> None:
    done = patcher.revert_image(several.out, f"oci:{tmp_path}/back", platform="linux/amd64")
    assert [each.same for each in done.images] == [True]
    assert done.images[0].after == several.done.images[0].before


def test_a_program_for_arm64_is_patched_where_that_platform_is_named(service: bytes, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "image")
    program = build(NEWEST).read_bytes()
    amd = layout.image([Tar().add("app", service).bytes()], Entrypoint=["/app"])
    arm = layout.image([Tar().add("app", program).bytes()], architecture="arm64", Entrypoint=["/app"])
    index = {"schemaVersion": 2, "manifests": [amd, arm]}
    source = layout.done(layout.blob(json.dumps(index).encode(), "application/vnd.oci.image.index.v1+json"))
    done = patcher.patch_image(source, tmp_path / "out", platform="linux/arm64")
    assert [(each.platform, each.programs[0].manifest.go.arch) for each in done.images] == [("linux/arm64", "arm64")]
    assert [each.platform for each in done.left] == ["linux/amd64"]
    back = patcher.revert_image(tmp_path / "out", tmp_path / "back", platform="linux/arm64")
    assert [each.same for each in back.images] == [True]


@pytest.mark.parametrize(
    ("platform", "error", "told"),
    [
        ("linux", UsageError, "not a platform"),
        ("windows/amd64", WrongArchitecture, "not windows/amd64"),
        ("linux/arm64", NotGo, "no Go program"),
    ],
)
def test_a_platform_that_cannot_be_patched_is_refused(
    several: Case, tmp_path: Path, platform: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        patcher.patch_image(several.source, f"oci:{tmp_path}/out", platform=platform)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_foreign_layer_that_is_not_there_stays_so(service: bytes, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "image")
    base, top = Tar().add("windows", b"x").bytes(), Tar().add("app", service).bytes()
    descriptor = layout.image([base, top], Cmd=["/app"])
    manifest = json.loads((layout.folder / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes())
    foreign = manifest["layers"][0]
    foreign.update(
        mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=["https://example.com/x"]
    )
    (layout.folder / "blobs" / foreign["digest"].replace(":", "/")).unlink()
    changed = layout.blob(json.dumps(manifest).encode(), descriptor["mediaType"])
    patcher.patch_image(layout.done({**descriptor, **changed}), tmp_path / "out")
    assert look(tmp_path / "out").manifest()["layers"][0] == foreign


def test_a_layer_on_top_has_the_program_with_all_its_attributes(rich: Case, patched: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = patcher.patch_image(rich.source, out, slack_ns=1, append_layer=True, path=["/bin/app"])
    before, after = look(rich.source), look(out)
    assert after.layers()[:2] == before.layers()
    assert after.manifest()["layers"][:2] == before.manifest()["layers"]
    top = after.layers()[2]
    assert inside(top, "usr/bin/app") == patched
    with tarfile.open(fileobj=io.BytesIO(top)) as new, tarfile.open(fileobj=io.BytesIO(rich.layers[1])) as old:
        assert [each.name for each in new] == ["usr", "usr/bin", "usr/bin/app"]
        assert new.getmember("usr/bin").mode == 0o700
        assert new.getmember("usr/bin/app").get_info() == old.getmember("usr/bin/app").get_info()
        xattr = new.getmember("usr/bin/app").pax_headers["SCHILY.xattr.security.capability"]
        assert xattr == CAPABILITY.decode("latin-1")
    assert [len(after.config()[each]) for each in ("history",)] == [3]
    assert len(after.config()["rootfs"]["diff_ids"]) == 3
    assert any("1 other names (hard links)" in each for each in done.warnings)
    back = patcher.revert_image(out, tmp_path / "back")
    assert back.images[0].same
    assert (look(tmp_path / "back").index, look(tmp_path / "back").blobs) == (before.index, before.blobs)


def test_a_layer_with_its_own_table_of_contents_may_only_get_one_on_top(tmp_path: Path) -> None:
    layer = Tar().add("app", GO).add("stargz.index.json", b"{}").bytes()
    source = docker_archive(tmp_path / "saved.tar", [layer], Cmd=["/app"])
    with pytest.raises(LayerFixed, match="eStargz") as told:
        patcher.patch_image(source, tmp_path / "out.tar")
    assert told.value.parameters == ("append_layer",)


def test_chunked_zstd_is_known_by_its_annotation(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "image")
    descriptor = layout.image([Tar().add("app", GO).bytes()], Cmd=["/app"])
    manifest = json.loads((layout.folder / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes())
    manifest["layers"][0]["annotations"] = {"io.github.containers.zstd-chunked.manifest-checksum": "x"}
    changed = layout.blob(json.dumps(manifest).encode(), descriptor["mediaType"])
    with pytest.raises(LayerFixed, match="zstd:chunked"):
        patcher.patch_image(layout.done({**descriptor, **changed}), tmp_path / "out")


def test_a_sparse_program_is_refused(tmp_path: Path) -> None:
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "app"}
    source = docker_archive(tmp_path / "saved.tar", [Tar().add("x", GO, pax_headers=sparse).bytes()])
    with pytest.raises(LayerFixed, match="sparse file"):
        patcher.patch_image(source, tmp_path / "out.tar", path=["/app"])


@pytest.mark.long
def test_of_all_programs_those_that_can_be_patched_are(service: bytes, patched: bytes, tmp_path: Path) -> None:
    """One is patched already; both lie in one layer, which another image has, too."""
    layer = Tar().add("a", patched).add("b", service).bytes()
    source = docker_archive(tmp_path / "saved.tar", [layer])
    done = patcher.patch_image(source, tmp_path / "out.tar", slack_ns=1, all=True)
    assert [each.path for each in done.images[0].programs] == ["/b"]
    assert [each.partition(":")[0] for each in done.warnings] == ["not patched"]
    assert look(tmp_path / "out.tar").layers() == [layer.replace(service, patched)]
    assert len([each for each in look(tmp_path / "out.tar").blobs if each.startswith("sha256:")]) == 3


def test_an_image_built_on_a_patched_one_is_not_reverted_to_what_that_was(
    rich: Case, service: bytes, tmp_path: Path
) -> None:
    """It inherits the label, which tells of other layers."""
    seen = look(rich.out)
    config = seen.config()
    archive = docker_archive(
        tmp_path / "built.tar", [*seen.layers(), Tar().add("more", b"x").bytes()], **config["config"]
    )
    done = patcher.revert_image(archive, tmp_path / "back.tar")
    assert (done.images[0].same, done.images[0].same_config) == (False, False)
    back = look(tmp_path / "back.tar")
    assert inside(back.layers()[1], "usr/bin/app") == service
    assert len(back.layers()) == 3
    assert back.config()["config"]["Labels"] == {"kept": "<yes>"}
    assert label.find(back.config()) is None


def test_a_label_that_lies_is_not_believed(rich: Case, tmp_path: Path) -> None:
    seen = look(rich.out)
    config = seen.config()
    told = json.loads(config["config"]["Labels"][label.LABEL])
    told["programs"][0]["before"] = digest_of(b"another").removeprefix("sha256:")
    config["config"]["Labels"][label.LABEL] = json.dumps(told)
    archive = docker_archive(tmp_path / "made.tar", seen.layers(), **config["config"])
    with pytest.raises(patcher.ManifestMismatch, match="does not give back the program"):
        patcher.revert_image(archive, tmp_path / "back.tar")
    assert [each.name for each in tmp_path.iterdir()] == ["made.tar"]


def test_a_stock_image_has_nothing_to_verify_or_revert(rich: Case, tmp_path: Path) -> None:
    for do in (lambda: patcher.verify_image(rich.source), lambda: patcher.revert_image(rich.source, tmp_path / "out")):
        with pytest.raises(patcher.NotPatched, match="not patched"):
            do()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_zstd_layers_stay_so(service: bytes, patched: bytes, tmp_path: Path) -> None:
    layer = Tar().add("app", service).bytes()

    layout = Layout(tmp_path / "image")
    done = patcher.patch_image(layout.done(layout.image([layer], zstd, Cmd=["/app"])), tmp_path / "out", slack_ns=1)
    new = look(tmp_path / "out").blobs[done.images[0].layers[0].after]
    assert new[:4] == b"\x28\xb5\x2f\xfd"
    plain = pytest.importorskip("zstandard").ZstdDecompressor().decompressobj().decompress(new)
    assert plain == layer.replace(service, patched)
    back = patcher.revert_image(tmp_path / "out", tmp_path / "back").images[0]
    assert (back.same, back.same_config) == (False, True)


def test_zstd_without_its_package_is_told_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    layout = Layout(tmp_path / "image")
    source = layout.done(layout.image([b"x"], lambda _: b"\x28\xb5\x2f\xfd" + bytes(100), Cmd=["/app"]))
    with pytest.raises(patcher.EngineFailed, match=r"pip install 'nanonap\[zstd\]'"):
        patcher.patch_image(source, tmp_path / "out")
