"""The pages in headless Chromium: nothing on the console, every figure drawn and legible, nothing cut off.

Widths below 500 px, the least that a window of headless Chromium has, are iframes in a page of ours.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from quickstudy.reporting import compare_page, report_page
from tests import reporting_examples as examples

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH")

SCHEMES = {"dark": 0, "light": 1}
DESKTOP, LAPTOP, TABLET, PHONE, SMALL_PHONE = 1280, 960, 768, 390, 360
LEAST_TEXT = 11.0
"""CSS pixels of the smallest text in a figure."""

# What each page looks like from within, measured by a script that is not the page's own.
MEASURE = """
function measure(frame) {
  const page = frame.contentDocument, root = page.documentElement, cut = [];
  let smallest = Infinity;
  for (const chart of page.querySelectorAll("svg.chart")) {
    const box = chart.getBoundingClientRect(), scale = box.width / chart.viewBox.baseVal.width;
    for (const text of chart.querySelectorAll("text")) {
      const own = text.getBoundingClientRect();
      smallest = Math.min(smallest, parseFloat(getComputedStyle(text).fontSize) * scale);
      if (own.left < box.left - 1.5 || own.right > box.right + 1.5 || own.bottom > box.bottom + 1.5)
        cut.push(text.textContent);
    }
  }
  const charts = [...page.querySelectorAll("svg.chart")];
  return {
    page: frame.dataset.page, width: frame.width, cut, smallest: charts.length ? smallest : null,
    overflow: root.scrollWidth - root.clientWidth,
    charts: charts.length,
    undrawn: charts.filter(c => c.getBoundingClientRect().width < 100 || !c.querySelector(
      "polyline.curve, .dot, .reward, .no-reward, .marker")).map(c => c.getAttribute("aria-label")),
    colourless: [...page.querySelectorAll(".curve")].filter(c => getComputedStyle(c).stroke == "none").length,
    ground: getComputedStyle(page.body).backgroundColor, ink: getComputedStyle(page.body).color,
  };
}
addEventListener("load", () => {
  const told = [...document.querySelectorAll("iframe")].map(measure);
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = JSON.stringify(told);
});
"""

# Where a page's animation lies, and the colours at these places of the picture that the browser chose.
LOOK = """
addEventListener("load", () => {
  const frame = document.querySelector("iframe"), image = frame.contentDocument.querySelector("img");
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  context.drawImage(image, 0, 0);
  const box = image.getBoundingClientRect(), shown = e => getComputedStyle(e).display != "none";
  const told = [...frame.contentDocument.querySelectorAll("#episodes p")].map(p => p.getBoundingClientRect());
  const result = [{
    size: [image.naturalWidth, image.naturalHeight], width: box.width, ratio: box.width / box.height,
    left: box.left, right: frame.contentDocument.documentElement.clientWidth - box.right,
    captions: told.map(c => (c.left + c.right) / 2 - box.left),
    colours: PLACES.map(([x, y]) => [...context.getImageData(x, y, 1, 1).data]),
    said: [...frame.contentDocument.querySelectorAll("#episodes span")].filter(shown).map(e => e.textContent),
  }];
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = JSON.stringify(result);
});
"""

# What the browser finds in an animated picture; null repeats are infinite ones.
COUNT_FRAMES = """
addEventListener("load", async () => {
  const bytes = atob(document.querySelector("img").src.split(",")[1]);
  const decoder = new ImageDecoder({type: "image/png", data: Uint8Array.from(bytes, c => c.charCodeAt(0))});
  await decoder.tracks.ready;
  const track = decoder.tracks.selectedTrack;
  const told = [{animated: track.animated, frames: track.frameCount, repeats: track.repetitionCount}];
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = JSON.stringify(told);
});
"""

# How many colours a picture has, and how bright it is on average.
COUNT_COLOURS = """
addEventListener("load", () => {
  const told = [...document.querySelectorAll("img")].map(image => {
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
    canvas.width = image.width; canvas.height = image.height;
    context.drawImage(image, 0, 0);
    const data = context.getImageData(0, 0, image.width, image.height).data, colours = new Set();
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) {
      colours.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
      sum += (data[i] + data[i + 1] + data[i + 2]) / 3;
    }
    return {colours: colours.size, brightness: sum / (data.length / 4)};
  });
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = JSON.stringify(told);
});
"""


@functools.cache
def pages() -> dict[str, str]:
    runs = examples.every_run()
    compared = {
        "compare": compare_page([runs["realistic"], runs["failed"], runs["not_evaluated"]]),
        "compare_everything": compare_page(list(runs.values())),
    }
    return {name: report_page(run) for name, run in runs.items()} | compared


def chromium(directory: Path, page: str, scheme: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Load a page, with whatever it says to the console on stderr."""
    path = directory / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={directory / 'profile'}", "--enable-logging=stderr",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", *options, path.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def console(finished: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in finished.stderr.splitlines() if re.search(r":CONSOLE[:(]", line)]


def told_by(
    directory: Path, script: str, content: str, scheme: str = "light", *options: str
) -> list[dict[str, Any]]:
    """What a page of ours writes into its <pre>."""
    page = f"<!doctype html><meta charset=utf-8><body>{content}<script>{script}</script>"
    finished = chromium(directory, page, scheme, f"--window-size={DESKTOP},900", "--dump-dom", *options)
    found = re.search(r"<pre>(.*)</pre>", finished.stdout, flags=re.DOTALL)
    assert found, finished.stdout[:1000] + finished.stderr[-1000:]
    return json.loads(html.unescape(found[1]))


def frame(name: str, page: str, width: int) -> str:
    # Opened parts are measured too: a wide table must not widen the page.
    opened = html.escape(page.replace("<details>", "<details open>"), quote=True)
    return f'<iframe data-page="{name}" width="{width}" height="800" srcdoc="{opened}"></iframe>'


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_page_fits_and_is_drawn_at_every_width(tmp_path: Path, scheme: str) -> None:
    widths = (DESKTOP, LAPTOP, TABLET, PHONE, SMALL_PHONE)
    frames = "".join(frame(name, page, width) for name, page in pages().items() for width in widths)
    measured = told_by(tmp_path, MEASURE, frames, scheme)
    assert len(measured) == len(pages()) * len(widths)
    for found in measured:
        where = f"{found['page']} at {found['width']} px, {scheme}"
        assert found["overflow"] <= 0, where
        assert found["cut"] == [], where
        assert found["undrawn"] == [], where
        assert found["colourless"] == 0, where
        assert found["smallest"] is None or found["smallest"] >= LEAST_TEXT, where
        ground, ink = (brightness(found[name]) for name in ("ground", "ink"))
        assert (ground < 60 and ink > 200) if scheme == "dark" else (ground > 200 and ink < 60), where
    figures = {found["page"]: found["charts"] for found in measured}
    assert figures["realistic"] >= 3 + 4 + 3
    assert figures["compare"] == 3


def brightness(colour: str) -> float:
    """Of a CSS rgb(), from 0 to 255."""
    channels = [float(value) for value in re.findall(r"[\d.]+", colour)[:3]]
    return sum(channels) / 3


def test_the_measurement_sees_what_is_wrong(tmp_path: Path) -> None:
    wide = "<style>text { font-size: 5px }</style><div style='width: 900px'>wide</div>"
    text = "<svg class='chart' width='100' viewBox='0 0 200 50'><text x='190' y='20'>far too long</text></svg>"
    (found,) = told_by(tmp_path, MEASURE, frame("bad", f"<!doctype html>{wide}{text}", PHONE))
    assert found["overflow"] > 400
    assert found["cut"] == ["far too long"]
    assert found["smallest"] == pytest.approx(2.5)
    assert len(found["undrawn"]) == 1


@pytest.mark.parametrize("width", [DESKTOP, SMALL_PHONE])
@pytest.mark.parametrize("still", [False, True])
def test_the_animation_is_drawn_with_its_captions_below_its_halves(
    tmp_path: Path, width: int, still: bool
) -> None:
    first, gap, last, moved = (20, 20), (123, 60), (228, 20), (10, 60)
    places = [first, gap, last, moved, (moved[0], 128 + moved[1])]
    script = LOOK.replace("PLACES", json.dumps(places[: 5 if still else 4]))
    options = ["--force-prefers-reduced-motion"] if still else []
    (found,) = told_by(tmp_path, script, frame("continuous", pages()["continuous"], width), "dark", *options)
    assert found["size"] == ([248, 248] if still else [248, 120])
    colours = [tuple(colour[:3]) for colour in found["colours"]]
    assert colours[0] == examples.LEFT
    assert found["colours"][1][3] == 0
    assert colours[2] == examples.RIGHT
    if still:
        # The square has left its first place in the picture below.
        assert colours[3:] == [examples.MOVED, examples.LEFT]
    assert found["said"] == (["The first picture above, the last below."] if still else ["One picture a step."])
    assert found["width"] == (496 if width == DESKTOP else pytest.approx(width - 30, abs=8))
    assert found["ratio"] == pytest.approx(found["size"][0] / found["size"][1], rel=0.01)
    assert found["left"] == pytest.approx(found["right"], abs=1)
    quarters = [found["width"] * share for share in (0.25, 0.75)]
    assert found["captions"] == pytest.approx(quarters, abs=4)


def test_the_browser_sees_an_animation_without_end(tmp_path: Path) -> None:
    address = re.search(r'<img src="([^"]*)"', pages()["continuous"])
    assert address
    content = f'<img src="{address[1]}">'
    (found,) = told_by(tmp_path, COUNT_FRAMES, content, "light", "--virtual-time-budget=10000")
    assert found == {"animated": True, "frames": 13, "repeats": None}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["realistic", "hostile", "compare"])
def test_page_itself_is_silent_and_not_blank(tmp_path: Path, name: str, scheme: str) -> None:
    page, pictures = pages()[name], []
    for width in (DESKTOP, PHONE):
        shown = page if width > 500 else f"<!doctype html><body style='margin:0'>{frame(name, page, width)}"
        picture = tmp_path / f"{width}.png"
        size = f"--window-size={max(width, 500)},900"
        finished = chromium(tmp_path, shown, scheme, size, f"--screenshot={picture}")
        assert console(finished) == []
        pictures.append(picture)
    images = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}">'
        for picture in pictures
    )
    desktop, phone = told_by(tmp_path, COUNT_COLOURS, images)
    for found in (desktop, phone):
        assert found["colours"] > 100
    assert (desktop["brightness"] < 70) if scheme == "dark" else (desktop["brightness"] > 200)


def test_the_console_is_heard(tmp_path: Path) -> None:
    finished = chromium(tmp_path, "<script>console.error('heard')</script>", "light", "--dump-dom")
    assert any("heard" in line for line in console(finished))
