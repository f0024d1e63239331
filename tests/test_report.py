import json
import os
import re
import shutil
import subprocess
import zlib

import numpy as np
import pytest
from conftest import tick_row, tiny_config
from PIL import Image

from gancli import ticks
from gancli.config import as_text
from gancli.errors import InputMissing
from gancli.health import Figure, Health, Histogram, Nearest, Spectrum
from gancli.report import pictures, run_page, svg
from gancli.results import Tick, Warned, plain
from gancli.runs import Run
from gancli.training.alarms import VERDICTS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "<script>alert(1)</script>"


def tick(kimg, **changes):
    """A line of stats.jsonl."""
    return tick_row(kimg=kimg, images=round(kimg * 1000), **changes)


def make_run(folder, ticks=(), sheets=(), **changes):
    """A synthetic run folder. sheets: names of its sheets of 8 x 8 tiles of 16 px, with increasing gray levels."""
    (folder / "samples").mkdir(parents=True)
    (folder / "config.yaml").write_text(as_text(tiny_config(**changes)))
    if ticks:
        (folder / "stats.jsonl").write_text("".join(json.dumps(values) + "\n" for values in ticks))
    for level, name in enumerate(sheets):
        Image.new("RGB", (128, 128), (level, level, level)).save(folder / "samples" / name)
    if sheets:
        Image.new("RGB", (128, 128), "red").save(folder / "reals.png")
    return Run(folder)


def make_health(verdict="low-diversity", **changes):
    """A Health with all kinds of content."""
    values = {
        "evidence": ("batch std of the fakes is 0.50 times that of the reals",),
        "panel": (
            Figure(
                "batch_std_ratio",
                "batch std ratio",
                0.51,
                0.98,
                0.2,
                0.4,
                note="spread of pixels",
                group="spread",
                mark="bad",
                advice="give the critic more",
            ),
            Figure("feature", "feature std ratio", 0.72, 0.99, note="of features", group="spread", mark="watch"),
            Figure("near", "nearest", 123456.0, float("nan"), note="distance", group="memorization", mark="good"),
            Figure("edges", "edges", 1.25, 1.0, group="texture"),
        ),
        "histograms": tuple(Histogram(c, (0.0625,) * 16, (0.0625,) * 16) for c in ("red", "green", "blue")),
        "spectrum": Spectrum((0.0, 0.3, 0.7), (2.0, 1.0, 0.0), (2.0, 1.0, 0.5)),
        "samples": 1000,
    }
    return Health(verdict, "high", **(values | changes))


@pytest.fixture
def run(tmp_path):
    ticks = [tick(k, resolution=r, alpha=a) for k, r, a in ((1, 8, 1.0), (2, 16, 0.5), (3, 16, 1.0))]
    ticks[1]["warnings"] = [plain(Warned("penalty", "the critic has become steep", 2000, None))]
    return make_run(tmp_path / "00003-frogs-tiny", ticks, [f"fakes-00000{i}.png" for i in (1, 2, 3)])


def make_pair(distance=0.42, mirrored=True):
    pixels = np.zeros((16, 16, 3), np.uint8)
    return run_page.Pair(pixels, pixels + 9, Nearest(42, 17, mirrored, distance))


class TestPage:
    def test_the_verdict_is_a_word_and_a_mark(self, run):
        """The mark does not depend on color."""
        page = run_page.page(run, make_health())
        head = page[page.index('id="verdict"') : page.index("</h2>")]
        assert "low-diversity" in head
        assert "▲" in head
        assert "batch std of the fakes is 0.50 times that of the reals" in page

    def test_every_figure_is_under_its_heading(self, run):
        """With its numbers, meaning and mark; the mark is also text for screen readers."""
        page = run_page.page(run, make_health())
        assert page.index("how much do the samples vary") < page.index("batch std ratio") < page.index("Memorization:")
        for words in (
            "0.51",
            "0.98",
            "spread of pixels",
            "give the critic more",
            "123,456",
            "edges",
            ">bad<",
            ">watch<",
        ):
            assert words in page

    def test_nothing_is_fetched(self, run):
        """All URLs are data: URLs, and the CSP forbids others."""
        page = run_page.page(run, make_health(), [make_pair()])
        assert "http" not in page.replace("http-equiv", "")
        assert all(address.startswith("data:") for address in re.findall(r'src="([^"]*)', page))
        assert all(address.startswith("#") for address in re.findall(r'href="([^"]*)', page))
        assert "url(" not in page
        assert "default-src 'none'" in page

    def test_hostile_names_are_text(self, tmp_path):
        """Names of the folder, data, preset, figures and channels are escaped."""
        warning = plain(Warned(HOSTILE, HOSTILE, 0, HOSTILE))
        run = make_run(tmp_path / "<b>bold<b>", [tick(1, warnings=[warning])], data__source=HOSTILE, preset=HOSTILE)
        odd = Figure(HOSTILE, HOSTILE, 1, 1, group=HOSTILE, advice=HOSTILE)
        health = make_health(evidence=(HOSTILE,), panel=(odd,),
                             histograms=(Histogram(HOSTILE, (1.0,), (1.0,)),))  # fmt: skip
        page = run_page.page(run, health)
        assert not re.search("<script>alert|<b>bold", page)
        assert page.count("&lt;script&gt;alert") >= 7

    def test_warnings_say_when(self, run):
        """Each warning starts with its kimg."""
        assert "<b>2 kimg</b> penalty: the critic has become steep" in run_page.page(run, make_health())

    def test_neighbors_are_side_by_side(self, run):
        """With their distance, and whether they are mirrored."""
        page = run_page.page(run, make_health(), [make_pair()])
        assert "0.42 times the median distance of unseen reals" in page
        assert "sample 42 · training sample 17, mirrored" in page

    def test_a_run_without_anything_has_a_page(self, tmp_path):
        """Without ticks, sheets and figures the page says so."""
        page = run_page.page(make_run(tmp_path / "empty"), Health("undecided", "low", ()))
        assert "undecided" in page
        assert "nothing has been logged" in page
        assert not re.search("<table|<img", page)

    def test_a_folder_that_is_no_run_has_none(self, tmp_path):
        """InputMissing is raised."""
        with pytest.raises(InputMissing):
            run_page.page(Run(tmp_path), make_health())

    def test_every_picture_and_chart_is_described(self, run):
        """All have alternative text."""
        page = run_page.page(run, make_health(), [make_pair()])
        assert all(' alt="' in image for image in re.findall(r"<img[^>]*>", page))
        assert all('role="img" aria-label="' in chart for chart in re.findall(r"<svg[^>]*>", page))
        assert all("scope=" in head for head in re.findall(r"<th\b[^>]*>", page))

    def test_it_is_written_whole(self, run, tmp_path):
        """To the given path."""
        run_page.write(run, make_health(), tmp_path / "report.html")
        assert (tmp_path / "report.html").read_text().rstrip().endswith("</html>")


class TestCurves:
    def test_null_breaks_no_curve(self):
        """Missing values are skipped."""
        ticks = [tick(k, critic_loss=loss) for k, loss in ((1, 0.1), (2, None), (3, 0.3), (4, float("nan")), (5, 0.2))]
        chart = run_page.charts(tiny_config(), ticks)[0]
        (points,) = re.findall(r'<polyline points="([^"]*)"', chart)
        assert len(points.split()) == 3
        assert "nan" not in chart

    def test_what_was_never_measured_has_no_chart(self):
        """Nor does saturation if it is always 0."""
        missing = dict.fromkeys(("critic_loss", "d_real", "d_fake", "score_gap", "overfitting")) | {"saturation": 0.0}
        ticks = [tick(k, **missing) for k in (1, 2)]
        (only,) = run_page.charts(tiny_config(), ticks)
        assert "batch std ratio" in only

    @pytest.mark.parametrize(("loss", "name"), [("wasserstein", "Wasserstein estimate"), ("hinge", "score gap")])
    def test_the_gap_has_the_name_that_the_loss_gives_it(self, loss, name):
        """Only for Wasserstein is it an estimate of a distance."""
        changes = {"loss__adversarial": loss, "loss__r1": 0, "loss__r2": 0, "loss__gradient_penalty": 1}
        assert name in run_page.charts(tiny_config(**changes), [tick(1), tick(2)])[2]

    def test_phases_follow_the_ticks(self):
        """Each starts at the end of the previous one; a fade is a separate phase."""
        rows = ((1, 4, 1.0), (2, 4, 1.0), (3, 8, 0.5), (4, 8, 1.0), (5, 8, 1.0))
        assert run_page.phases([tick(k, resolution=r, alpha=a) for k, r, a in rows]) == [
            svg.Phase("4", 1, 2), svg.Phase("8", 2, 3, fading=True), svg.Phase("8", 3, 5),
        ]  # fmt: skip

    def test_one_resolution_is_no_phase(self):
        """A single resolution is not shaded."""
        assert run_page.phases([tick(1), tick(2)]) == []

    def test_phases_are_shaded_and_named_once(self):
        """Fade-ins are hatched; labels without room are omitted."""
        line = svg.Line("loss", np.arange(101.0), np.arange(101.0))
        phases = [svg.Phase("128", 0, 1), svg.Phase("256", 1, 40, fading=True), svg.Phase("256", 40, 100)]
        chart = svg.line_chart([line], "kimg", "loss", phases)
        assert chart.count("<rect") == 3
        assert chart.count(">256<") == 1
        assert ">128<" not in chart
        assert sum("V" in strokes for strokes in re.findall(r'class="hatch" d="([^"]*)"', chart)) == 1

    def test_a_single_tick_is_a_dot(self):
        """A line of one point would be invisible."""
        assert "stroke-linecap" in run_page.charts(tiny_config(), [tick(1)])[0]


NUMBERS = [name for name in Tick.__dataclass_fields__ if name != "warnings" and name not in ticks.ALWAYS]
EXTREMES = [
    [None, None], [None, 1.0, None], [1e308, -1e308], [-1e308, 1e308, 0], [2**53, -(2**53)], [5e-324, 0.0, 1e-320],
    [-5, 3, -5], [1e308, 1e308], [float("nan"), float("inf"), 1], [1.0, 1.0 + 1e-15],
]  # fmt: skip


class TestExtremeNumbers:
    @pytest.mark.parametrize("values", EXTREMES)
    def test_a_page_takes_any_numbers(self, tmp_path, values):
        """In every field of the log: missing, huge, tiny, negative, not in order."""
        rows = [dict.fromkeys(NUMBERS, value) | {"warnings": []} for value in values]
        page = run_page.page(make_run(tmp_path / "run", rows, ["fakes-000001.png"]), make_health())
        for points in re.findall(r'<polyline points="([^"]*)"', page):
            assert all(abs(float(x)) < 1e6 for x in re.split("[ ,]", points))
        assert not re.search(r'width="-', page)

    @pytest.mark.parametrize("name", NUMBERS)
    def test_any_one_field_may_be_missing(self, tmp_path, name):
        """Others are drawn."""
        rows = [tick(k) | {name: None} for k in (1, 2)]
        page = run_page.page(make_run(tmp_path / "run", rows), make_health())
        assert "<polyline" in page[page.index('id="curves"') :]

    @pytest.mark.parametrize("low", [-1e100, 0.0, 1e100])
    @pytest.mark.parametrize("span", [0.0, 5e-324, 1e-300, 1e-15, 1.0, 1e100])
    def test_grid_lines_are_few(self, low, span):
        """Whatever the range."""
        assert 1 <= len(svg.ticks(low, low + span)) <= 12


class TestGallery:
    def test_at_most_24_sheets_with_the_first_and_the_last(self, tmp_path):
        """Evenly spaced."""
        run = make_run(tmp_path / "run", [tick(1)], [f"fakes-{i:06d}.png" for i in range(1, 101)])
        page = run_page.page(run, make_health())
        captions = re.findall(r'data-caption="(\d+) kimg', page)
        assert len(captions) == 24
        assert (captions[0], captions[-1]) == ("1", "100")
        assert max(np.diff([int(c) for c in captions])) <= 5

    def test_without_a_script_the_last_sheet_shows(self, run):
        """The others are hidden, the slider too."""
        page = run_page.page(run, make_health())
        sheets = re.findall(r'<img[^>]*data-caption="([^"]*)"( hidden)?', page)
        assert [bool(hidden) for _, hidden in sheets] == [True, True, False]
        assert re.search(r'aria-live="polite">3 kimg', page)
        assert '<label id="control" hidden>' in page

    def test_untrained_networks_come_first(self, tmp_path):
        """If an ablation has sampled them."""
        run = make_run(tmp_path / "run", [tick(1)], ["untrained.png", "fakes-000001.png"])
        assert [s.caption for s in pictures.gallery(run, run.config(), {}).sheets] == ["untrained", "1 kimg"]

    def test_files_named_by_images_and_by_kimg_are_one_row(self, tmp_path):
        """Nine digits are images; files with other names are ignored."""
        run = make_run(tmp_path / "run", sheets=["fakes-000002.png", "fakes-000000500.png", "fakes-mine.png"])
        assert [pictures.caption(path, {}) for path in pictures.sheets_of(run)] == ["0.5 kimg", "2 kimg"]

    def test_a_damaged_sheet_is_left_out(self, run):
        """The others are shown."""
        (run.path / "samples" / "fakes-000002.png").write_bytes(b"\x89PNG\r\n")
        assert len(pictures.gallery(run, run.config(), {}).sheets) == 2

    def test_what_is_no_file_is_left_out(self, run):
        """A pipe would be waited for; so would one behind a link."""
        samples = run.path / "samples"
        os.mkfifo(samples / "fakes-000004.png")
        (samples / "fakes-000005.png").mkdir()
        (samples / "fakes-000006.png").symlink_to("fakes-000004.png")
        (samples / "fakes-000007.png").symlink_to("nowhere.png")
        (run.path / "reals.png").unlink()
        (run.path / "reals.png").symlink_to("samples/fakes-000004.png")
        found = pictures.gallery(run, run.config(), {})
        assert (len(found.sheets), found.reals) == (3, None)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("damage", ["bomb", "chunk", "tiny"])
    def test_no_sheet_stops_the_page(self, run, damage, monkeypatch):
        """A sheet of huge size, with a broken chunk, or of one pixel."""
        monkeypatch.setattr(pictures, "SIDE", 20)
        path = run.path / "samples" / "fakes-000002.png"
        data = bytearray(path.read_bytes())
        if damage == "bomb":
            data[16:24] = (60_000).to_bytes(4, "big") * 2
            data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
            path.write_bytes(data)
        elif damage == "chunk":
            path.write_bytes(data.replace(b"IDAT", b"ID\0T"))
        else:
            Image.new("RGB", (1, 1)).save(path)
        assert len(pictures.gallery(run, run.config(), {}).sheets) == 2 + (damage == "tiny")

    @pytest.mark.parametrize("side", [8, 16])
    def test_huge_sheets_are_cut_to_the_same_whole_tiles(self, tmp_path, side, monkeypatch):
        """Also sheets of lower resolutions; each latent keeps its position."""
        monkeypatch.setattr(pictures, "SIDE", 60)  # three tiles of 16 px, and a rest
        run = make_run(tmp_path / "run", sheets=["fakes-000001.png"])
        Image.new("RGB", (8 * side, 8 * side)).save(run.path / "samples" / "fakes-000001.png")
        seen = []
        monkeypatch.setattr(pictures, "address", lambda pixels: seen.append(pixels.shape[:2]) or "data:,")
        assert pictures.gallery(run, run.config(), {}).cut
        assert seen == [(3 * side, 3 * side), (48, 48)]

    def test_many_large_sheets_stay_under_the_budget(self, tmp_path, monkeypatch):
        """Noise does not compress."""
        monkeypatch.setattr(pictures, "BYTES", 60_000)
        run = make_run(tmp_path / "run", sheets=["fakes-000001.png", "fakes-000002.png"])
        noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
        for path in pictures.sheets_of(run):
            Image.fromarray(noise).save(path)
        found = pictures.gallery(run, run.config(), {})
        assert 20_000 < sum(len(sheet.picture) for sheet in found.sheets) * 3 / 4 < 63_000


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
class TestInABrowser:
    def test_the_slider_shows_another_moment(self, run, tmp_path):
        """The sheet and its caption change, and the console has no errors."""
        script = """
          const slider = document.getElementById("moment"), seen = [];
          const look = () => seen.push([...document.querySelectorAll("#sheets img")]
            .filter((i) => i.offsetParent).map((i) => i.dataset.caption).join() + "/" + caption.textContent);
          const caption = document.getElementById("caption");
          look(); slider.value = 0; slider.dispatchEvent(new Event("input")); look();
          seen.push(slider.offsetParent !== null, slider.getAttribute("aria-valuetext"));
          document.title = seen.join("|");"""
        dom, errors = browse(tmp_path, run_page.page(run, make_health(), [make_pair()]), script)
        title = re.search("<title>(.*?)</title>", dom)[1]
        assert title == "3 kimg, step 1/3 kimg, step 1|1 kimg, step 1/1 kimg, step 1|true|1 kimg, step 1"
        assert errors == []

    def test_a_phone_scrolls_in_one_direction(self, run, tmp_path):
        """At 390 px the page is no wider; the table scrolls in its own box."""
        frame = """
          const frame = document.createElement("iframe");
          frame.style = "width: 390px; height: 844px; border: 0";
          frame.onload = () => {
            const page = frame.contentDocument, box = page.querySelector(".wide");
            document.title = [page.documentElement.scrollWidth, page.body.scrollWidth,
              box.scrollWidth > box.clientWidth].join();
          };
          frame.srcdoc = document.getElementById("page").textContent;
          document.body.append(frame);"""
        page = run_page.page(run, make_health(), [make_pair()])
        outer = f'<html><body><textarea id="page" hidden>{svg.escape(page)}</textarea></body></html>'
        dom, errors = browse(tmp_path, outer, frame)
        width, body, scrolls = re.search("<title>(.*?)</title>", dom)[1].split(",")
        assert max(int(width), int(body)) <= 390
        assert scrolls == "true"
        assert errors == []


def browse(tmp_path, page, script):
    """(the document after the script ran, the console output)."""
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", f"<script>{script}</script></body>"))
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,844",
             f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000",
             "--enable-logging=stderr", "--v=0", "--dump-dom", file.as_uri()]  # fmt: skip
    done = subprocess.run(words, capture_output=True, check=True, timeout=60, text=True)
    lines = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, [line for line in lines if "Uncaught" in line or "ERROR" in line or "violates" in line]


class TestWordsOfTicks:
    def test_ticks_with_the_same_word_are_one_span(self):
        """From the end of the span before it to its last tick; a tick without a word is skipped."""
        words = ["early", "early", "healthy", None, "healthy", "collapsed"]
        ticks_ = [tick(i + 1) | {"kimg": i + 1.0, "verdict": word} for i, word in enumerate(words)]
        spans = [(span.name, span.start, span.end) for span in run_page.verdicts(ticks_)]
        assert spans == [("early", 0.0, 2.0), ("healthy", 2.0, 5.0), ("collapsed", 5.0, 6.0)]
        chart = run_page.charts(tiny_config(), ticks_)[0]
        assert "collapsed from 5 to 6" in chart
        assert chart.count("<rect") == 3

    def test_logs_of_earlier_versions_have_no_strip(self):
        """Nor do unknown words."""
        assert run_page.verdicts([tick(1), tick(2) | {"verdict": "splendid"}]) == []

    def test_every_word_has_a_color(self):
        """Also one that is added later."""
        assert run_page.TICK_COLORS.keys() == set(VERDICTS)
