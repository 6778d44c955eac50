"""What can be wrong with a container image, or with what reads and writes one. Exit statuses 90 … 93."""

from nanonap.base.errors import NanonapError


class BadImage(NanonapError):
    """No container image, or one that contradicts itself: a digest, a size, a header or a document is wrong."""

    exit_code = 90


class ImageTooLarge(NanonapError):
    """More entries, documents or bytes than an honest image has."""

    exit_code = 91


class EngineFailed(NanonapError):
    """docker, podman, skopeo or the package zstandard is not there, or refuses what is asked of it."""

    exit_code = 92


class LayerFixed(NanonapError):
    """A layer that may not change in place: it has a table of contents of its own, or holds the program in pieces."""

    exit_code = 93
