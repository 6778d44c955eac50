"""What a picture must look like, measured where its words lie."""

from matplotlib.figure import Figure


def assert_title_is_clear(figure: Figure | None) -> None:
    """The one legend's title, which is the picture's, lies on no other words, nor the legend on those around it."""
    assert figure is not None
    figure.draw_without_rendering()
    (legend,) = figure.legends
    title, *words = [legend.get_title(), *legend.get_texts(), *figure.texts]
    assert title.get_text().startswith("What ")
    assert not any(title.get_window_extent().overlaps(each.get_window_extent()) for each in words)
    assert not any(legend.get_window_extent().overlaps(each.get_window_extent()) for each in figure.texts)
