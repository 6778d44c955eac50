"""report.html in a browser: it loads nothing, complains of nothing, fits a phone, and can be printed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from nanonap.lab.main import run_bench
from nanonap.lab.show.report import write_report
from tests.lab.made import GO, Roots, example_runs, write_result

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless; playwright brings a driver and no browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium to open the page in: apt-get install chromium")
    with sync_playwright() as playwright:
        # Chromium's own sandbox refuses to start as root; what is opened here is a page that the test made.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a result made by hand."""
    about = {"command": "invoke bench --seed 7", "seed": 7}
    folder = write_result(tmp_path_factory.mktemp("a page's folder") / "result", example_runs(), about)
    write_report(folder)
    return folder / "report.html"


class Opened:
    """A page, and the troubles it had: console errors and warnings, exceptions, requests to anywhere outside."""

    def __init__(self, browser: Browser, path: Path, size: dict[str, int], scheme: Scheme = "light") -> None:
        self.troubles: list[str] = []
        self.page: Page = browser.new_page(
            viewport={"width": size["width"], "height": size["height"]}, color_scheme=scheme
        )
        self.page.on(
            "console", lambda said: self.troubles.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("requestfailed", lambda request: self.troubles.append(f"failed: {request.url[:100]}"))
        self.page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file:", "data:")) else self.troubles.append(f"asked for {request.url}")
            ),
        )
        self.page.goto(path.as_uri(), wait_until="load")

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()

    def ground(self) -> list[int]:
        """The page's background: red, green, blue."""
        text: str = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in text.removeprefix("rgb(").removesuffix(")").split(",")]

    def too_wide(self) -> int:
        """By how many pixels the page could be scrolled sideways."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    def images(self) -> list[dict[str, object]]:
        """Of every image: its alternative text, how wide the loaded picture is, whether it is shown, and its kind."""
        found: list[dict[str, object]] = self.page.eval_on_selector_all(
            "img",
            "each => each.map(image => ({alt: image.alt, width: image.naturalWidth, shown: image.offsetWidth > 0, "
            "kind: image.className}))",
        )
        return found

    def shown(self) -> set[object]:
        """The kinds of images that are to be seen."""
        return {image["kind"] for image in self.images() if image["shown"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_is_quiet_and_fits(browser: Browser, made: Path, size: dict[str, int], scheme: Scheme) -> None:
    with Opened(browser, made, size, scheme) as opened:
        images = opened.images()
        assert opened.troubles == []
        assert opened.too_wide() == 0
        assert len(images) == 2 * len(list(made.parent.glob("*.png")))
        assert all(image["alt"] and image["width"] for image in images)
        assert max(opened.ground()) < 64 if scheme == "dark" else min(opened.ground()) > 192


def test_a_dark_page_has_dark_figures_and_a_printed_one_never(browser: Browser, made: Path) -> None:
    with Opened(browser, made, DESKTOP, "light") as opened:
        assert opened.shown() == {"light"}
        opened.page.emulate_media(color_scheme="dark")
        assert opened.shown() == {"dark"}
        opened.page.emulate_media(media="print", color_scheme="dark")
        assert opened.shown() == {"light"}
        assert opened.ground() == [255, 255, 255]
        assert opened.page.pdf(format="A4").startswith(b"%PDF")
        assert opened.troubles == []


def test_a_printed_page_cuts_no_table_and_no_figure(browser: Browser, made: Path) -> None:
    narrow, broad = 703, 1032  # 210 and 297 mm less margins of 12 mm, at 96 pixels an inch
    with Opened(browser, made, {"width": narrow, "height": broad}) as opened:
        opened.page.emulate_media(media="print")
        for tables, most in (("table:not(.many table)", narrow), (".many table", broad)):
            widths = opened.page.eval_on_selector_all(tables, "each => each.map(table => table.offsetWidth)")
            assert widths
            assert max(widths) <= most
        positions = opened.page.eval_on_selector_all("th", "each => each.map(cell => getComputedStyle(cell).position)")
        assert set(positions) == {"static"}
        breaks = opened.page.eval_on_selector_all(
            "figure", "each => each.map(one => getComputedStyle(one).breakInside)"
        )
        assert set(breaks) == {"avoid"}


def test_the_links_lead_to_the_raw_files(browser: Browser, made: Path) -> None:
    with Opened(browser, made, DESKTOP) as opened:
        links = opened.page.eval_on_selector_all("a[href]", "each => each.map(link => link.href)")
        files = [Path(link.removeprefix("file://").replace("%20", " ").replace("%27", "'")) for link in links]
        assert {"runs.jsonl", "samples.parquet", "summary.json", "bench.json"} <= {file.name for file in files}
        assert all(file.is_file() and file.parent == made.parent for file in files)


@pytest.mark.long
def test_the_page_of_a_real_bench_is_quiet_and_fits(browser: Browser, roots: Roots) -> None:
    run_bench(
        "quick",
        arms="stock,netpoll,netpoll+slack1,floor",
        requested="100us,1ms",
        quota="none",
        load="quiet,sleepers:50",
        seed=7,
        go=GO,
        build_root=roots.build,
        patched_root=roots.patched,
        results=roots.results,
    )
    page = roots.results / "latest" / "report.html"
    summary = json.loads(page.with_name("summary.json").read_text())
    for scheme in ("light", "dark"):
        with Opened(browser, page, PHONE, scheme) as opened:
            assert opened.troubles == []
            assert opened.too_wide() == 0
            assert all(image["alt"] and image["width"] for image in opened.images())
            said = opened.page.inner_text("body")
            for verdict in summary["verdicts"]:
                assert verdict["sentence"] in said
            for arm in summary["binaries"]:
                assert arm in said


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("<script>console.error('no good')</script>", "no good"),
        ("<script>console.warn('hm')</script>", "hm"),
        ("<script>missing()</script>", "missing is not defined"),
        ("<img alt='' src='http://127.0.0.1:9/pixel.png'>", "asked for http://127.0.0.1:9/pixel.png"),
        ("<link rel='stylesheet' href='not-there.css'>", "not-there.css"),
    ],
)
def test_a_page_with_a_fault_would_be_told(browser: Browser, made: Path, tmp_path: Path, wrong: str, told: str) -> None:
    broken = tmp_path / "report.html"
    broken.write_text(made.read_text().replace("</main>", f"{wrong}</main>"))
    with Opened(browser, broken, DESKTOP) as opened:
        assert told in " ".join(opened.troubles)


@pytest.mark.long
def test_a_page_wider_than_a_phone_would_be_told(browser: Browser, made: Path, tmp_path: Path) -> None:
    broken = tmp_path / "report.html"
    broken.write_text(made.read_text().replace(".wide { overflow-x: auto; }", ""))
    with Opened(browser, broken, PHONE) as opened:
        assert opened.too_wide() > 0
