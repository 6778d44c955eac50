"""A plot as the page shows it: on a light and on a dark ground, and in words."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from matplotlib.artist import Artist, getp
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text
from PIL import Image

from nanonap.base.files import beside
from nanonap.lab.show.style import FAINT, FOOTNOTE, GRID, add_footnote

FIXED = "fixed"
"""The gid of an artist whose colour is that of its own ground, and stays on a dark page."""
_CSS_PIXELS_PER_INCH = 96
_COLOURS_KEPT, _METHOD = 128, Image.Quantize.FASTOCTREE
# Light → dark. The page's card is #161b22 there; what is light on white must be dark on it, and the other way round.
_DARK = {
    "#ffffff": "#161b22",
    "#000000": "#f0f3f6",
    GRID: "#30363d",
    "#eeeeee": "#30363d",
    "#dddddd": "#484f58",
    FAINT: "#8b949e",
    FOOTNOTE: "#8b949e",
    "#0072b2": "#3ba0e0",
    "#d55e00": "#f08045",
    "#009e73": "#23b88d",
}


Colour = tuple[float, float, float, float]


class Drawn(NamedTuple):
    """A plot, and what is to be seen in it, its key figures included."""

    figure: Figure
    alt: str


@dataclass(frozen=True)
class Picture:
    """``file``: the PNG in the result's folder; ``light`` and ``dark``: PNGs; width and height in CSS pixels."""

    file: Path
    light: bytes
    dark: bytes
    alt: str
    width: int
    height: int


def paint(drawn: Drawn, path: Path, footnote: str) -> Picture:
    """Write a figure as PNG, whole or not at all, and give it with its dark twin; the figure is used up.

    Raises OutputNotWritable, DiskFull.
    """
    figure = drawn.figure
    add_footnote(figure, footnote)
    light = _png(figure)
    with beside(path) as temporary:
        temporary.write_bytes(light)
        temporary.chmod(0o644)
    figure.set_layout_engine("none")  # it is laid out: other colours change nothing of that
    _darken(figure)
    width, height = (round(inches * _CSS_PIXELS_PER_INCH) for inches in figure.get_size_inches())
    return Picture(path, light, _png(figure), drawn.alt, width, height)


def _png(figure: Figure) -> bytes:
    """Few colours are in a figure: with a palette its file is a third as long."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", pil_kwargs={"compress_level": 1})
    image = Image.open(drawn).convert("RGB")
    image.quantize(_COLOURS_KEPT, method=_METHOD, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def _darken(figure: Figure) -> None:
    for artist in _artists(figure):
        if artist.get_gid() == FIXED:
            continue
        if isinstance(artist, Line2D):
            for name in ("color", "markerfacecolor", "markeredgecolor"):
                _change(artist, name)
        elif isinstance(artist, Text):
            _change(artist, "color")
        elif isinstance(artist, Patch | Collection):
            # A collection without an own array of values has plain colours.
            if isinstance(artist, Collection) and artist.get_array() is not None:
                continue
            for name in ("facecolor", "edgecolor"):
                _change(artist, name)


def _artists(figure: Figure) -> Iterator[Artist]:
    for artist in figure.findobj():
        yield artist
        # The arrow of an annotation is no child of it.
        if isinstance(artist, Annotation) and artist.arrow_patch is not None:
            yield artist.arrow_patch


def _change(artist: Artist, name: str) -> None:
    old = getp(artist, name)
    if isinstance(old, str) and old in ("none", "auto"):
        return
    new = [_dark((red, green, blue, alpha)) for red, green, blue, alpha in to_rgba_array(old).tolist()]
    if new:
        artist.set(**{name: new[0] if len(new) == 1 else new})


def _dark(rgba: Colour) -> tuple[str, float]:
    return _DARK.get(to_hex(rgba), to_hex(rgba)), rgba[3]
