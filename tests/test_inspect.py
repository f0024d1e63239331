"""The commands inspect-stats and report, on runs and on samples from any source."""

import gzip
import io
import json
import re
import shutil
import tarfile
import zipfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from conftest import make_pictures, resolved_config, tick_row, tiny_config
from PIL import Image
from pydantic import TypeAdapter

import gancli
from gancli import growth, runs, safe_load
from gancli.cli import live
from gancli.data.sources import find
from gancli.health import GROUPS, WORDS, Health
from gancli.networks import vgg
from gancli.networks.feature_extractors import SHA256
from gancli.results import SCHEMA_VERSION, silent
from gancli.stats import figures, inspect_checkpoint, inspection, sliced_wasserstein
from gancli.stats.figures import FIGURES
from gancli.stats.measures import Measured

SCHEMA = Path(__file__).parent.parent / "docs" / "health.schema.json"


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two disjoint folders of 70 and 150 images of one distribution, 20 px."""
    base = tmp_path_factory.mktemp("sets")
    return make_pictures(base / "fakes", 70), make_pictures(base / "reals", 150, seed=1)


@pytest.fixture
def draw_stripes():
    """Vertical stripes of many phases, some horizontal instead, and some with a dot pattern."""

    def made(count, across=(), dots=()):
        place, draw = np.arange(20), np.random.RandomState(count)
        x = np.stack([np.tile(np.sin(place / 2 + draw.rand() * 6), (20, 1)) for _ in range(count)])
        for i in across:
            x[i] = x[i].T
        for i in dots:
            x[i] = np.sin(place) * np.sin(place)[:, None] * (1 + draw.rand() / 5)
        noisy = x * 100 + 128 + draw.normal(0, 4, x.shape)
        return np.repeat(noisy.clip(0, 255).astype(np.uint8)[..., None], 3, axis=3)

    return made


def inspected(gancli, *words):
    """(exit code, the JSON) of inspect-stats."""
    code, out, err = gancli("inspect-stats", *words, "--json")
    return code, json.loads(out or err)


class TestSetsOfSamples:
    def test_two_folders_are_all_it_takes(self, gancli, sets):
        """No checkpoint, no run: for users of other tools."""
        code, body = inspected(gancli, sets[0], "--against", sets[1])

        assert (code, body["verdict"], body["weights"]) == (0, "healthy", "files")
        assert (body["samples"], body["kind"], body["source"]) == (70, "image", str(sets[0]))
        assert {figure["group"] for figure in body["panel"]} <= set(GROUPS)

    def test_copies_of_the_reals_are_found(self, gancli, sets):
        """With exit 4 for --fail-on; each with the file that it is a copy of."""
        code, out, _ = gancli("inspect-stats", sets[1], "--against", sets[1], "--fail-on", "memorizing", "--json")
        body = json.loads(out)

        assert (code, body["verdict"]) == (4, "memorizing")
        assert all(near["fake"] == near["real"] and near["distance"] < 0.3 for near in body["nearest"])

    def test_one_repeated_image_is_collapsed(self, gancli, sets, tmp_path):
        """The verdict is collapsed."""
        for i in range(80):
            shutil.copy(sets[0] / "000.png", tmp_path / f"{i}.png")
        assert inspected(gancli, tmp_path, sets[1])[1]["verdict"] == "collapsed"

    def test_samples_alone_are_not_enough(self, gancli, sets):
        """Exit 2 with a hint; also if the reals are given twice."""
        code, body = inspected(gancli, sets[0])
        assert (code, "--against" in body["error"]["hint"]) == (2, True)
        assert inspected(gancli, sets[0], sets[1], "--against", sets[1])[0] == 2

    def test_gray_samples_meet_color_reals(self, gancli, sets, tmp_path):
        """Both become color images."""
        for path in sets[0].iterdir():
            Image.open(path).convert("L").save(tmp_path / path.name)
        code, body = inspected(gancli, tmp_path, "--against", sets[1])
        assert (code, body["samples"]) == (0, 70)
        assert any((figure["key"], figure["part"]) == ("channel_mean_distance", "red") for figure in body["panel"])

    @pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
    def test_a_pipe_is_taken(self, gancli, sets, tmp_path, monkeypatch, form):
        """`-`: a zip, a tar, or a tar that gzip packed, with the result of the folder."""
        path = tmp_path / f"fakes.{form}"
        if form == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for picture in sets[0].iterdir():
                    archive.write(picture, picture.name)
        else:
            with tarfile.open(path, "w:gz" if form == "tar.gz" else "w") as archive:
                archive.add(sets[0], "fakes")
        piped = SimpleNamespace(buffer=io.BytesIO(path.read_bytes()), isatty=lambda: False)
        monkeypatch.setattr("sys.stdin", piped)

        _, body = inspected(gancli, "-", "--against", sets[1])
        _, folder = inspected(gancli, sets[0], "--against", sets[1])

        assert body["panel"] == folder["panel"]
        assert body["source"] == "-"

    def test_a_pipe_without_anything_says_so(self, gancli, sets, monkeypatch):
        """Exit 65 for empty and truncated input, 2 at a terminal."""
        torn = gzip.compress(bytes(10_000))[:-20]
        for terminal, data, code in ((False, b"", 65), (True, b"", 2), (False, torn, 65), (False, b"\x1f\x8bxx", 65)):
            piped = SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda terminal=terminal: terminal)
            monkeypatch.setattr("sys.stdin", piped)
            assert inspected(gancli, "-", "--against", sets[1])[0] == code

    def test_an_unreadable_pipe_is_named_not_its_temporary_file(self, gancli, sets, monkeypatch):
        """As is a damaged zip in it."""
        for data in (b"neither a zip nor a tar", b"PK\x03\x04 torn"):
            piped = SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)
            monkeypatch.setattr("sys.stdin", piped)
            code, _, err = gancli("inspect-stats", "-", "--against", sets[1])
            assert code == 65
            assert "where: stdin" in err

    def test_a_tar_on_disk_is_read_and_a_packed_one_refused(self, gancli, sets, tmp_path):
        """With a hint."""
        for name, mode in (("plain.tar", "w"), ("packed.tar.bz2", "w:bz2")):
            with tarfile.open(tmp_path / name, mode) as archive:
                archive.add(sets[0], "fakes")
        with tarfile.open(tmp_path / "plain.tar", "a") as archive:
            archive.add(sets[0] / "000.png", "fakes/._000.png")  # of a Mac's
            link = tarfile.TarInfo("fakes/link.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        source = find(str(tmp_path / "plain.tar"))
        assert (len(source.entries), [r.name for r in source.rejected]) == (70, ["fakes/link.png"])
        assert inspected(gancli, tmp_path / "plain.tar", "--against", sets[1])[0] == 0
        code, body = inspected(gancli, tmp_path / "packed.tar.bz2", "--against", sets[1])
        assert (code, "unpack" in body["error"]["hint"]) == (65, True)

    def test_order_and_names_do_not_matter(self, sets, tmp_path):
        """The same images under other names give the same figures."""
        for i, path in enumerate(sorted(sets[0].iterdir(), reverse=True)):
            shutil.copy(path, tmp_path / f"{i:03d}.png")
        one, other = (gancli.inspect_stats(folder, str(sets[1])) for folder in (sets[0], tmp_path))
        for a, b in zip(one.panel, other.panel, strict=True):
            assert (a.label, pytest.approx(a.value, rel=1e-5, abs=1e-9)) == (b.label, b.value)

    def test_arrays_of_signals_and_points_are_judged_too(self, gancli, tmp_path):
        """With the figures for their kind."""
        draw = np.random.RandomState(0)
        for name, shape in (("signals", (2, 30)), ("points", (2,))):
            for side, count in (("fakes", 100), ("reals", 300)):
                np.save(tmp_path / f"{name}-{side}.npy", draw.randn(count, *shape).astype(np.float32))
            code, body = inspected(gancli, tmp_path / f"{name}-fakes.npy", tmp_path / f"{name}-reals.npy")
            assert (code, body["kind"]) == (0, name.removesuffix("s") if name == "signals" else name)

    def test_the_commonest_size_is_the_size(self, gancli, tmp_path):
        """A single outlier is ignored; upscaled reals lower the confidence."""
        fakes, reals = make_pictures(tmp_path / "f", 70, size=33), make_pictures(tmp_path / "r", 150, size=20, seed=1)
        Image.new("RGB", (2000, 3)).save(fakes / "00.png")
        code, body = inspected(gancli, fakes, "--against", reals)
        assert (code, body["confidence"]) == (0, "low")
        assert "were upscaled" in body["evidence"][-1]
        assert any(figure["label"] == "sliced Wasserstein, 33 px" for figure in body["panel"])

    def test_few_samples_are_undecided_and_never_fail(self, gancli, tmp_path):
        """64 per side are needed."""
        fakes, reals = make_pictures(tmp_path / "f", 20), make_pictures(tmp_path / "r", 60, seed=1)
        code, out, _ = gancli("inspect-stats", fakes, reals, "--fail-on", "collapse,memorizing,artifacts", "--json")
        assert (code, json.loads(out)["verdict"]) == (0, "undecided")


class TestFeatures:
    def test_a_network_of_the_users_own_adds_a_fid(self, gancli, sets, tmp_path):
        """With a state dict of VGG-16, FID and KID have values and baselines."""
        torch.save(vgg.random_weights(), tmp_path / "vgg16.pt")  # noqa: TID251  # somebody else's

        _, body = inspected(gancli, sets[0], "--against", sets[1], "--features", tmp_path / "vgg16.pt")

        found = {figure["label"]: figure for figure in body["panel"]}
        assert found["FID, vgg16"]["value"] > 0
        assert found["FID, vgg16"]["baseline"] > 0
        assert "KID, vgg16" in found

    def test_what_is_no_such_network_is_refused(self, gancli, sets, tmp_path):
        """Exit 65 with the names of the supported networks."""
        torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")  # noqa: TID251  # the same
        code, body = inspected(gancli, sets[0], "--against", sets[1], "--features", tmp_path / "other.pt")
        assert code == 65
        assert all(name in json.dumps(body) for name in ("vgg16", "inception-v3"))

    def test_trained_features_compare_the_content_if_they_are_installed(self, gancli, sets, monkeypatch):
        """Without the extra everything works with fixed ones. The result says which it was."""
        _, body = inspected(gancli, sets[0], "--against", sets[1])
        assert body["compared_by"].startswith("content compared by EfficientNet-Lite0")

        monkeypatch.setattr(inspection, "pretrained", lambda device: None)
        code, without = inspected(gancli, sets[0], "--against", sets[1])
        assert code == 0
        assert without["compared_by"].startswith("content compared by fixed features")
        figures = [{f["key"]: f["value"] for f in each["panel"]} for each in (body, without)]
        both = {key for key in figures[1] if f"{key}_fixed" in figures[0]}
        assert both == {"coverage", "precision", "kernel_distance"}
        assert figures[0].keys() == figures[1].keys() | {f"{key}_fixed" for key in both} | {"equivalent_resolution"}
        assert all(figures[0][f"{key}_fixed"] == figures[1][key] != figures[0][key] for key in both)
        assert figures[0]["batch_std_ratio"] == figures[1]["batch_std_ratio"]

    def test_a_generator_is_not_judged_by_what_it_was_trained_against(self, tmp_path, tiny, monkeypatch):
        """Other features are used, and FID on the same network is called too low."""
        torch.save(vgg.random_weights(), tmp_path / "vgg16.pt")  # noqa: TID251  # somebody else's
        run = trained(tiny, tmp_path)
        monkeypatch.setattr(inspect_checkpoint, "trained_against", lambda config: SHA256)
        found = gancli.inspect_stats(run)
        assert found.compared_by.endswith("because the generator was trained against efficientnet-lite0")

        monkeypatch.setattr(
            inspect_checkpoint, "trained_against", lambda config: safe_load.digest(tmp_path / "vgg16.pt")
        )
        found = gancli.inspect_stats(run, features=tmp_path / "vgg16.pt")
        assert found.compared_by.startswith("content compared by EfficientNet-Lite0")
        assert any(text.endswith("its FID and KID are too low") for text in found.evidence)


class TestExamples:
    def test_what_is_foreign_and_what_is_missing_is_shown(self, draw_stripes):
        """Samples that the data does not have, by index; data that the samples do not have, by row."""
        fakes, reals = draw_stripes(80, across=range(8)), draw_stripes(200, dots=range(30, 42))

        found = {shown.side: shown for shown in gancli.inspect_stats(fakes, reals).examples}

        assert set(found["samples"].ids) == set(range(8))
        assert set(found["reals"].ids) <= set(range(30, 42))
        assert [shown.figure for shown in found.values()] == ["foreign_share", "missing_share"]
        assert all(
            np.array_equal(p, fakes[i]) for i, p in zip(found["samples"].ids, found["samples"].pictures, strict=True)
        )


class TestOutput:
    def test_json_is_what_the_schema_says(self, gancli, sets):
        """docs/health.schema.json is the schema of the class, and the output is of that class."""
        expected = TypeAdapter(Health).json_schema()
        del expected["$defs"]["Examples"]["properties"]["pictures"]  # for the plot and the page only
        if SCHEMA.exists():  # an installed package has no docs
            written = json.loads(SCHEMA.read_text())
            assert written["properties"].pop("schema_version") == {"const": SCHEMA_VERSION}
            assert written == expected, "write it anew: python docs/generate.py"
        _, body = inspected(gancli, sets[0], "--against", sets[1])
        assert body.pop("schema_version") == SCHEMA_VERSION
        TypeAdapter(Health).validate_python(body)
        assert set(body) == set(expected["properties"])

    def test_the_plot_is_one_svg_with_every_figure(self, gancli, sets, tmp_path):
        """Well-formed, nothing to fetch; another suffix is refused."""
        code, out, _ = gancli("inspect-stats", sets[0], "--against", sets[1], "--plot", tmp_path / "p.svg", "--json")
        text = (tmp_path / "p.svg").read_text()
        root = ElementTree.fromstring(text)
        assert (code, root.tag) == (0, "{http://www.w3.org/2000/svg}svg")
        assert all(figure["label"] in text for figure in json.loads(out)["panel"])
        assert all(address.startswith("data:image/png;base64,") for address in re.findall(r'href="([^"]*)"', text))
        assert gancli("inspect-stats", sets[0], "--against", sets[1], "--plot", "p.png")[0] == 2
        assert gancli("inspect-stats", sets[0], "--against", sets[1], "--plot", tmp_path / "no" / "p.svg")[0] == 73

    def test_people_see_marks_sentences_and_what_to_try(self, gancli, sets, tmp_path):
        """Marks have shapes, not only colors."""
        for i in range(80):
            shutil.copy(sets[0] / "000.png", tmp_path / f"{i}.png")
        _, out, _ = gancli("inspect-stats", tmp_path, sets[1], "--all")
        assert "verdict: collapsed" in out
        assert "✖  batch std ratio" in out
        assert "try: minibatch std" in out
        assert "spectrum  fake" in out

    def test_quick_leaves_the_slow_figures_out(self, gancli, sets):
        """And reports it."""
        _, quick = inspected(gancli, sets[0], "--against", sets[1], "--quick")
        _, full = inspected(gancli, sets[0], "--against", sets[1])
        assert gancli("inspect-stats", sets[0], sets[1], "--quick", "--fail-on", "memorizing")[0] == 2
        missing = {f["key"] for f in full["panel"]} - {f["key"] for f in quick["panel"]}
        assert any("sliced" in name for name in missing)
        assert (quick["quick"], full["quick"]) == (True, False)

    def test_what_is_not_shown_is_not_computed(self, gancli, sets, monkeypatch):
        """The figures that take longest, unless --all, --plot or --json shows them. The verdict is the same."""
        asked = []
        monkeypatch.setattr(
            sliced_wasserstein, "distance", lambda sets, reals: asked.append(len(sets)) or [0.0] * len(sets)
        )
        short = gancli("inspect-stats", sets[0], sets[1])[1]
        assert not asked
        everything = gancli("inspect-stats", sets[0], sets[1], "--all")[1]
        assert asked
        assert short.splitlines()[1:4] == everything.splitlines()[1:4]

    def test_a_generator_that_is_not_finite_has_diverged(self, tmp_path, tiny, monkeypatch):
        """No figures are computed."""
        run = trained(tiny, tmp_path)
        monkeypatch.setattr(
            "gancli.stats.sample_sets.generated", lambda g, others, p: torch.full_like(others, float("nan"))
        )
        health = gancli.inspect_stats(run)
        assert (health.verdict, health.confidence, health.panel) == ("diverged", "high", ())


class TestTooEarly:
    """A checkpoint from the start of a training run, or from before full size."""

    @staticmethod
    def at(images, verdict, **changes):
        """What is said of a verdict on the tiny run, whose schedule is 160 images."""
        config = tiny_config(**changes)
        phase = growth.Schedule.of(config).phase_at(images)
        generator = SimpleNamespace(phase=phase, checkpoint=SimpleNamespace(config=config, images=images))
        return inspect_checkpoint._early(Health(verdict, "high", ("why",)), generator)

    def test_nothing_is_decided_in_the_first_tenth(self):
        """Of the schedule, or of a longer duration; the share is given, and what it would be called."""
        early = self.at(15, "collapsed")
        assert (early.verdict, early.confidence) == ("undecided", "low")
        assert early.evidence[0] == "only 9.4% of the schedule is trained; a verdict needs 10%"
        assert "collapsed" in early.evidence[-1]
        assert self.at(160, "healthy", train__duration=2_000).verdict == "undecided"

    def test_a_shorter_duration_is_no_shorter_schedule(self):
        """The first stage alone is not the run that the preset describes."""
        assert self.at(8, "artifacts", train__duration=8).verdict == "undecided"

    @pytest.mark.parametrize("verdict", ["healthy", "artifacts", "diverged", "washed-out"])
    def test_before_full_size_most_is_undecided(self, verdict):
        """A smaller network cannot have what only full size has."""
        assert self.at(60, verdict).verdict == "undecided"
        assert self.at(60, verdict).evidence[0].startswith("the network is still growing: 8 of 16 px")
        assert self.at(160, verdict).verdict == verdict

    @pytest.mark.parametrize("verdict", ["collapsed", "low-diversity", "memorizing"])
    def test_what_does_not_change_with_size_is_reported(self, verdict):
        """With its evidence and confidence."""
        assert self.at(60, verdict) == Health(verdict, "high", ("why",))

    def test_what_started_from_trained_weights_is_never_early(self):
        """Grown and transferred runs."""
        origin = {"verb": "transfer", "checkpoint": "a.pt", "digest": "0", "images": 500}
        assert self.at(160, "healthy", train__duration=160_000, origin=origin).verdict == "healthy"


def test_advice_leaves_out_what_the_config_has(tiny, tmp_path):
    """No "minibatch std" where it is on or cannot be; --mirror for images alone; samples of a checkpoint are whole."""
    here = {figures.TRUNCATED}
    on, off = tiny_config(), tiny_config(network__minibatch_std=None, data__mirror=True)
    assert inspect_checkpoint._used(on) == here | {figures.MINIBATCH_STD, figures.LESS_AUGMENTATION}
    assert inspect_checkpoint._used(off) == here | {figures.MIRROR, figures.LESS_AUGMENTATION}
    assert inspect_checkpoint._used(tiny_config(augment={"color": 0.5})) == here | {figures.MINIBATCH_STD}
    smooth = tiny_config(network__upsampling="bilinear", network__noise=True)
    more = {figures.SMOOTHER, figures.MINIBATCH_STD, figures.LESS_AUGMENTATION}
    assert inspect_checkpoint._used(smooth) == here | more
    projected = resolved_config({}, "projected-64")
    assert figures.MINIBATCH_STD in inspect_checkpoint._used(projected)

    spread = FIGURES["coverage"].explained(Measured(0.1, 1.0))
    (left,) = figures.advised([spread], inspect_checkpoint._used(on))
    assert figures.MINIBATCH_STD in spread.advice
    assert figures.MINIBATCH_STD not in left.advice
    assert "more data" in left.advice


def trained(tiny, tmp_path):
    """The run folder of a tiny training on 200 images."""
    return gancli.train(tiny, str(make_pictures(tmp_path / "many", 200)), outdir=tmp_path / "runs").run


class TestWatch:
    def test_a_run_that_nobody_trains_is_shown_and_left(self, gancli, tiny, tmp_path):
        """The ticks so far, in the format of the training."""
        run = trained(tiny, tmp_path)
        code, out, _ = gancli("inspect-stats", run, "--watch", "--json")
        lines = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert [line["images"] for line in lines] == [tick["images"] for tick in runs.Run(run).stats()]

    def test_new_ticks_are_shown_as_they_come(self, gancli, tmp_path, monkeypatch):
        """Until the lock is gone."""
        run = runs.create(tmp_path, "data", tiny_config(), "run")
        images, answers = iter([8, 16, 24]), iter([True, True, False])

        def alive(_):
            with run.stats_file.open("a") as file:
                file.write(json.dumps(tick_row(images=next(images))) + "\n")
            return next(answers)

        monkeypatch.setattr("gancli.runs.is_locked", alive)
        monkeypatch.setattr("gancli.cli.watching.SECONDS", 0)
        _, out, err = gancli("inspect-stats", run.path, "--watch", "--json")
        assert [json.loads(line)["images"] for line in out.splitlines()] == [8, 16, 24], err

    def test_people_see_the_lines_of_the_training(self, gancli, tiny, tmp_path):
        """On standard error, as train prints them; options of the verdict are rejected."""
        run = trained(tiny, tmp_path)
        _, out, err = gancli("inspect-stats", run, "--watch")
        assert out == ""
        assert err.count("generator_steps=") == len(runs.Run(run).stats())
        assert gancli("inspect-stats", run, "--watch", "--fail-on", "collapse")[0] == 2


def test_the_bar_of_the_scan_is_gone_before_the_table_opens(monkeypatch):
    """Two live displays on one terminal overwrite each other."""
    events = []

    @contextmanager
    def bar():
        yield silent
        events.append("bar gone")

    monkeypatch.setattr(live.show, "progress", bar)
    monkeypatch.setattr(live, "announce", lambda *_: None)
    monkeypatch.setattr(live, "Live", lambda **_: nullcontext(events.append("table")))

    live.LiveTable().start(None, tiny_config(), 0, None)

    assert events == ["bar gone", "table"]


class TestReport:
    def test_it_writes_a_page_into_the_run_and_prints_its_path(self, gancli, tiny, tmp_path):
        """With the verdict and the neighbors of a run that was just trained."""
        run = trained(tiny, tmp_path)

        code, out, _ = gancli("report", run)

        page = Path(out.strip())
        assert (code, page) == (0, run / "report.html")
        text = page.read_text()
        assert any(word in text for word in WORDS)
        assert "times the median distance of unseen reals" in text

    def test_what_is_no_run_is_refused(self, gancli, tmp_path):
        """Exit 2."""
        assert gancli("report", tmp_path)[0] == 2
