"""Images in a real registry: fetched, patched, sent, looked at and given back, every digest asked of the registry."""

import hashlib
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import patcher
from patcher.images import label
from tests.lab import engines
from tests.patcher.conftest import Invoke
from tests.patcher.images.made import Layout, Tar, docker_archive, go_json, gzipped, inside
from tests.patcher.images.test_files import C
from tests.patcher.images.test_platforms import attestation

pytestmark = pytest.mark.long
_TYPES = "application/vnd.{}+json"
_ACCEPTED = ["docker.distribution.manifest.v2", "docker.distribution.manifest.list.v2"]
_ACCEPTED += ["oci.image.manifest.v1", "oci.image.index.v1"]


@dataclass(frozen=True)
class Registry:
    """A registry, asked by HTTP."""

    host: str

    def get(self, path: str) -> bytes:
        accepted = {"Accept": ", ".join(_TYPES.format(each) for each in _ACCEPTED)}
        request = urllib.request.Request(f"http://{self.host}/v2/{path}", headers=accepted)
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - http, as above
            body: bytes = answer.read()
        return body

    def digest(self, tag: str) -> str:
        return f"sha256:{hashlib.sha256(self.get(f'app/manifests/{tag}')).hexdigest()}"

    def manifest(self, tag: str) -> Any:
        return json.loads(self.get(f"app/manifests/{tag}"))

    def place(self, tag: str) -> str:
        return f"registry:{self.host}/app:{tag}"

    def push(self, layout: Path, tag: str) -> str:
        """By skopeo; gives the digest."""
        where = f"docker://{self.host}/app:{tag}"
        words = ["skopeo", "copy", "--all", "--dest-tls-verify=false", f"oci:{layout}", where]
        subprocess.run(words, check=True, capture_output=True)
        return self.digest(tag)


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with engines.registry() as host:
        yield Registry(host)


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_a_tag_is_patched_into_another_and_given_back_by_its_digest(
    registry: Registry, invoke: Invoke, service: bytes, patched: bytes, tmp_path: Path, docker: bool
) -> None:
    layout = Layout(tmp_path / "image")
    made = layout.image([Tar().add("app", service).bytes()], gzipped, docker=docker, Cmd=["/app"])
    stock = registry.push(layout.done(made), f"stock-{docker}")
    assert stock == made["digest"]
    source, out = registry.place(f"stock-{docker}"), registry.place(f"patched-{docker}")
    told = invoke("patch", "--image", source, "--out", out, "--slack-ns", "1", "--json")
    assert told.status == 0, told.err
    document = json.loads(told.out)
    [image] = document["images"]
    new = registry.digest(f"patched-{docker}")
    assert (image["before"]["manifest"], image["after"]["manifest"], document["digest"]) == (stock, new, new)
    assert image["names"] == [source.partition(":")[2]]
    manifest = registry.manifest(f"patched-{docker}")
    assert manifest["mediaType"] == made["mediaType"]
    labels = json.loads(registry.get(f"app/blobs/{manifest['config']['digest']}"))["config"]["Labels"]
    assert (labels[label.BASE_DIGEST], labels[label.BASE_NAME]) == (stock, source.partition(":")[2])
    assert inside(registry.get(f"app/blobs/{manifest['layers'][0]['digest']}"), "app") == patched
    assert registry.digest(f"stock-{docker}") == stock
    [seen] = patcher.inspect_image(f"registry:{registry.host}/app@{new}")
    assert (seen.digest, seen.patched) == (new, ("/app",))
    [checked] = patcher.verify_image(out)
    assert [str(each.path) for each in checked.programs] == ["/app"]
    back = patcher.revert_image(out, registry.place(f"back-{docker}"))
    assert (back.images[0].same, back.digest, registry.digest(f"back-{docker}")) == (True, stock, stock)


def test_of_an_index_the_images_for_other_platforms_stay_as_they_are(
    registry: Registry, service: bytes, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "image")
    amd = layout.image([Tar().add("app", service).bytes()], Cmd=["/app"])
    arm = layout.image([Tar().add("app", C).bytes()], architecture="arm64", Cmd=["/app"])
    listed = [amd, arm, attestation(layout, arm)]
    inner = {"schemaVersion": 2, "manifests": listed}
    named = layout.blob(go_json(inner), "application/vnd.oci.image.index.v1+json")
    stock = registry.push(layout.done(named), "index")
    assert stock == named["digest"]
    done = patcher.patch_image(registry.place("index"), registry.place("index-patched"), slack_ns=1)
    index = registry.manifest("index-patched")
    assert done.digest == registry.digest("index-patched")
    assert done.images[0].after.manifest == index["manifests"][0]["digest"]
    assert index["manifests"][1:] == listed[1:]
    assert [each.platform for each in done.left] == ["linux/arm64"]
    for each in index["manifests"]:
        manifest = registry.manifest(each["digest"])
        assert [registry.get(f"app/blobs/{one['digest']}") for one in [manifest["config"], *manifest["layers"]]]
    back = patcher.revert_image(registry.place("index-patched"), registry.place("index-back"))
    assert back.digest == registry.digest("index-back") == stock


def test_the_digest_that_is_told_is_the_registrys_even_where_skopeo_compresses(
    registry: Registry, service: bytes, tmp_path: Path
) -> None:
    """What `docker save` writes is not compressed; what lies in a registry is."""
    saved = docker_archive(tmp_path / "saved.tar", [Tar().add("app", service).bytes()], Cmd=["/app"])
    done = patcher.patch_image(saved, registry.place("saved"), slack_ns=1)
    assert done.digest == registry.digest("saved")
    assert done.images[0].after.config == registry.manifest("saved")["config"]["digest"]
    back = patcher.revert_image(registry.place("saved"), tmp_path / "back.tar").images[0]
    assert (back.same_config, back.after.config) == (True, done.images[0].before.config)


def test_what_a_registry_refuses_is_told_in_skopeos_words(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(patcher.EngineFailed, match=r"skopeo copy failed: initializing source .*manifest unknown"):
        patcher.patch_image(registry.place("nosuch"), tmp_path / "out.tar")
    with pytest.raises(patcher.EngineFailed, match=r"skopeo copy failed: .*connection refused"):
        patcher.inspect_image("registry:127.0.0.1:9/app:1")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(urllib.error.HTTPError):
        registry.digest("nosuch")
