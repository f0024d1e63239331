"""Every script of benchmarks/ runs, at toy size: a figure that nobody can measure again is no figure."""

import gzip
import json
import re
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_pictures, write_preset

import gancli
from gancli.data import Shape, open_dataset
from gancli.stats.verdict import model

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="an installed package has no benchmarks")


def run(script, *words, cwd):
    """The standard output of a script, run as its docstring says."""
    command = [sys.executable, str(FOLDER / script), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def preset(tmp_path):
    """Shapes of 16 px, 48 images, without fades."""
    changes = {"data.source": "builtin:shapes", "growth": {"stable": 16}}
    return write_preset(tmp_path / "toy.yaml", changes)


def test_speed_compares_gancli_with_the_plain_formulation(tmp_path):
    """Images per second of each, and the median of the ratios; a peer comes in by a file."""
    peer = tmp_path / "peer.py"
    peer.write_text("def step_of(workload):\n    return lambda: sum(range(workload['batch'] * 1000))\n")

    table = run("speed.py", "toy", "--rounds", "3", "--peer", peer, "--out", "found.json", cwd=tmp_path)

    (found,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    ratios = [times["plain"] / times["gancli"] for times in found["rounds"]]
    assert found["speedup"]["plain"] == pytest.approx([sorted(ratios)[1], min(ratios), max(ratios)])
    assert set(found["images_per_s"]) == {"plain", "gancli", "peer"}
    assert 0 < found["share_of_roof"] < 1
    assert "| toy | fp32 |" in table


def test_speed_measures_presets_by_the_plain_formulas(tmp_path):
    """A step of a preset, at one of its resolutions."""
    run("speed.py", "quickstart:4", "ring8", "--rounds", "1", "--out", "found.json", cwd=tmp_path)

    found = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["what"] for row in found] == ["quickstart, 4 px", "ring8, 2 px"]


@pytest.mark.parametrize("preset", ["quickstart", "progan-64-lite"])
def test_the_plain_formulas_of_the_benchmark_compute_what_gancli_computes(monkeypatch, preset):
    """The same losses from the same weights: the baseline is slow, not another algorithm."""
    monkeypatch.syspath_prepend(FOLDER)
    import contenders

    task = contenders.task_of(preset, {"train.shared_fakes": False}, 8)
    losses = []
    for within in (nullcontext, contenders.plainly):
        with within():
            state, feed = contenders.TrainState.fresh(task.config, torch.device("cpu")), contenders.Feed(*task[1::-1])
            found, inputs = contenders.train_critic(state, task.config, feed, task.phase, 0)
            found |= contenders.train_generator(state, task.config, task.phase, inputs)
        losses.append({name: loss.detach() for name, loss in found.items()})

    assert {"critic_loss", "penalty", "generator_loss"} <= losses[0].keys()
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_speed_measures_start_up_and_the_feed(tmp_path):
    """Seconds of processes and images per second of the cache."""
    run("speed.py", "W5", "feed", "--rounds", "1", "--out", "found.json", cwd=tmp_path)

    found = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert len(found) == 7
    assert all(row["seconds"]["gancli"] > 0 for row in found)


@pytest.mark.slow
def test_scaling_measures_every_axis_and_fits_the_growth(tmp_path):
    """A row per point; seconds grow with the operations where these grow."""
    axes, files = ("--axes", "resolution", "samples"), ("--out", "s.json", "--plot", "s.svg")
    table = run("scaling.py", "--quick", "--rounds", "1", *axes, *files, cwd=tmp_path)

    found = json.loads((tmp_path / "s.json").read_text())
    assert [(row["axis"], row["value"]) for row in found["rows"]] == [
        ("resolution", 4), ("resolution", 8), ("samples", 64), ("samples", 128),
    ]  # fmt: skip
    assert set(found["growth"]) == {"resolution"}
    assert all(row["memory_mib"] > 50 for row in found["rows"])
    assert "| samples | 128 |" in table
    assert (tmp_path / "s.svg").read_text().startswith("<svg")


@pytest.mark.slow
def test_quickstart_trains_and_judges_each_seed(tmp_path, preset):
    """A row a run, with its verdict."""
    found = json.loads(run("quickstart.py", "--presets", preset, "--seeds", "3", "--samples", "64", cwd=tmp_path))

    assert [row["seed"] for row in found["rows"]] == [3]
    assert found["rows"][0]["verdict"]


@pytest.mark.slow
def test_precision_compares_both_over_seeds(tmp_path, preset):
    """A row per seed and precision; a run that the file holds is not repeated."""
    make_pictures(tmp_path / "pictures", 150)
    words = ("pictures", "--preset", preset, "--seeds", 3, "--samples", "64", "--out", "found.json")
    run("precision.py", *words, cwd=tmp_path)
    first = json.loads((tmp_path / "found.json").read_text())
    run("precision.py", *words, cwd=tmp_path)

    assert [(row["seed"], row["precision"]) for row in first["rows"]] == [(3, "fp32"), (3, "bf16")]
    assert set(first["rows"][0]) >= {"kernel_distance", "coverage"}
    assert json.loads((tmp_path / "found.json").read_text()) == first


@pytest.mark.parametrize(("bf16", "t", "worse"), [([2, 3, 4], 1.2247449, False), ([4, 5, 6], 3.6742346, True)])
def test_precision_is_worse_beyond_what_seeds_change(monkeypatch, bf16, t, worse):
    """Student's t by hand: means 1 and 3 apart, variances 1, so an error of (2/3) ** .5, and 4 degrees of freedom."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import precision

    rows = [
        {"data": "frogs", "precision": name, "kernel_distance": value, "coverage": value}
        for name, values in (("fp32", [1, 2, 3]), ("bf16", bf16))
        for value in values
    ]
    less_is_better, more_is_better = precision.compared(rows)
    assert less_is_better["t"] == pytest.approx(t)
    assert (less_is_better["worse"], more_is_better["worse"]) == (worse, False)


@pytest.mark.slow
def test_health_makes_a_table_of_runs(tmp_path, preset):
    """One line a variant, and the baseline."""
    data = str(make_pictures(tmp_path / "pictures", 150))
    command = [sys.executable, "-m", "gancli", "train", "--preset", preset, "--outdir", "runs", data]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    table = run("health.py", "runs", "--samples", "64", "--figures", "coverage,color_distance.red", cwd=tmp_path)

    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["toy", "baseline (reals)"]


@pytest.mark.slow
def test_verdicts_measures_labeled_sets_and_judges_them_by_other_sources(tmp_path):
    """A line per set; every scored one is either right or listed as an error."""
    draw = np.random.RandomState(0)
    np.save(tmp_path / "magic-wand-2x128.npy", draw.randn(400, 2, 128).astype(np.float32).cumsum(2))
    np.save(tmp_path / "magic-wand-labels.npy", draw.randint(0, 10, 400).astype(np.uint8))
    np.save(tmp_path / "ecg-beats-2x256.npy", draw.randn(400, 2, 256).astype(np.float32).cumsum(2))
    np.save(tmp_path / "ecg-beats-labels.npy", draw.randint(0, 6, 400).astype(np.uint8))
    measure = ("measure", ".", "--sources", "strokes", "ecg", "--samples", "64", "--out", "rows.jsonl")

    run("verdicts.py", *measure, cwd=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    run("verdicts.py", *measure, cwd=tmp_path)
    page = run("verdicts.py", "fit", "rows.jsonl", cwd=tmp_path)

    assert {row["word"] for row in rows} >= {"healthy", "collapsed", "memorizing", "diverged"}
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == len(rows), "measured once"
    right, scored = re.search(r"\| right \| (\d+) \| (\d+) \|", page).groups()
    assert int(scored) == sum(row["word"] is not None for row in rows)
    assert int(scored) - int(right) == len(re.findall(r"^- (strokes|ecg) 64, ", page, re.MULTILINE))


def test_the_shipped_weights_are_those_of_the_measured_sets(monkeypatch):
    """After a change of a sign or of its limit, `verdicts.py fit --write` must run again."""
    monkeypatch.syspath_prepend(FOLDER)
    import verdict_fit
    import verdicts

    for name in ("fixed", "trained"):
        found = verdict_fit.fitted(verdict_fit.sets_of(verdicts.read(verdicts.MEASURED), trained=name == "trained"))
        shipped = model(name == "trained")
        assert found.bias == pytest.approx(shipped.bias, abs=0.5)
        for word, weights in found.weights.items():
            known = dict.fromkeys(weights, 0.0) | dict(shipped.weights[word])
            assert dict.fromkeys(known, 0.0) | dict(weights) == pytest.approx(known, abs=0.5)


def test_mutants_counts_what_the_tests_notice(monkeypatch):
    """By module and in all; what ends the process or never ends is noticed, what has no test is not."""
    monkeypatch.syspath_prepend(FOLDER)
    import mutants

    lines = ["x_f__mutmut_1: killed", "x_f__mutmut_2: timeout", "x_g__mutmut_1: survived", "x_g__mutmut_2: no tests"]
    verdicts = mutants.read("\n".join(f"    gancli.ema.{line}" for line in lines))

    assert mutants.table(verdicts)[2:] == ["| gancli/ema.py | 4 | 2 | 50.0 % |", "| all | 4 | 2 | 50.0 % |"]


def test_the_cost_of_workers_is_calculated(monkeypatch):
    """By hand: 8 GPUs, 64 images of 1 TFLOP, 10 million gradients, 1 ms of delay, 100 GB/s."""
    monkeypatch.syspath_prepend(FOLDER)
    import distributed

    gpu = {"flop": 1e14, "least": 0.01, "inside": 1e11, "between": 1e10, "delay": 1e-3, "machine": 8, "feed": 1e4}
    monkeypatch.setattr(distributed, "GPU", gpu)
    task = {"flop": 1e12, "values": 1e7}
    assert distributed.parts_of_step(task, 8, 64) == pytest.approx((8e-4, 0.08, 0.002 + 2.8e-3, 0.002 + 7e-4))
    assert distributed.parts_of_step(task, 16, 16)[1:3] == pytest.approx((0.01, 0.002 + 60e-3))
    assert distributed.parts_of_step(task, 1, 1)[2:] == (0, 0)
    assert distributed.fitted({1: 0.5, 11: 0.7, 101: 2.5}) == pytest.approx((0.5, 0.02))


@pytest.mark.slow
@pytest.mark.distributed
def test_distributed_compares_numbers_of_workers(tmp_path):
    """One and two of them, started by torchrun."""
    found = run("distributed.py", "bits", "--kinds", "mlp", "--workers", "1", "2", "--no-resume", cwd=tmp_path)
    assert found == "mlp: 2 workers: the same bits\n"


def test_every_script_has_a_test():
    """Modules that scripts import are run by theirs."""
    tested = Path(__file__).read_text() + (Path(__file__).parent / "test_trust.py").read_text()
    scripts = [path.name for path in FOLDER.glob("*.py") if "__main__" in path.read_text()]
    assert not [name for name in scripts if f'"{name}"' not in tested and f"import {name[:-3]}\n" not in tested]


def test_minutes_calls_best_what_falls_least_short_of_the_data(monkeypatch):
    """By hand: the smallest KID, the largest coverage; who is beyond the data itself is as good as it."""
    monkeypatch.syspath_prepend(FOLDER)
    import minutes

    keys = ("kernel_distance", "coverage", "train_distance_ratio")
    a, b, c = (
        [{"figures": {key: [value, base] for key, value, base in zip(keys, values, (0.0, 1.0, 1.0), strict=True)}}]
        for values in ((0.3, 0.5, 1.2), (0.2, 0.4, 1.1), (0.4, 0.5, 0.9))
    )
    groups = {"a": a, "b": b, "c": c}

    assert [minutes.best_of(groups, key) for key in keys] == [["b"], ["a", "c"], ["a", "b"]]
    assert minutes.best_of(groups, "coverage_fixed") == [], "nobody has it"


def test_minutes_names_the_commands_of_its_page(monkeypatch):
    """One for each contender: its points, its seeds, and the size of a rival."""
    monkeypatch.syspath_prepend(FOLDER)
    import minutes

    ours = [
        {"data": "frogs", "threads": 1, "contender": "auto", "minutes": m, "seed": s} for m in (60, 5) for s in (1, 0)
    ]
    rival = {"data": "frogs", "threads": 1, "contender": "dcgan width=32", "minutes": 20.0, "seed": 0, "size": 32}
    start = "python benchmarks/minutes.py train frogs.zip --contenders"
    assert minutes.commands([*ours, rival])[:-1] == [
        f'{start} "auto" --minutes 60 --at 5 --seeds 0 1 --threads 1',
        f'{start} "dcgan width=32" --minutes 20 --size 32 --seeds 0 --threads 1',
    ]


def test_minutes_enlarges_samples_of_a_network_that_has_not_grown_yet(tmp_path, preset, monkeypatch):
    """8 px of 16: every pixel of a sample becomes 2 x 2 equal ones."""
    monkeypatch.syspath_prepend(FOLDER)
    import minutes

    monkeypatch.setattr(minutes, "COUNT", 8)
    found = gancli.train(preset, changes={"train.duration": 16}, outdir=tmp_path / "runs", threads=1)
    last = sorted(found.run.rglob("*.pt"))[-1]

    assert minutes.from_checkpoint(tmp_path, 1, last) == 16
    stored, small = np.load(tmp_path / "1.npy"), minutes.as_bytes(gancli.load(last).sample(range(8)))
    assert small.shape == (8, 8, 8, 3)
    assert np.array_equal(stored, np.kron(small, np.ones((1, 2, 2, 1), np.uint8)))


@pytest.mark.slow
def test_minutes_trains_contenders_for_equal_time_and_judges_them(tmp_path, preset):
    """A preset and a textbook GAN: samples at every point, a row for each and for the data, and nothing done twice."""
    data, ours, rival = (
        str(make_pictures(tmp_path / "p", 140, size=32)),
        f"{preset} --kimg 0.016",
        "dcgan width=4 batch=8",
    )
    common = ("--size", "32", "--threads", "1")
    ours_alone = ("train", data, "--contenders", ours, "--minutes", "0.4", *common)

    assert run("minutes.py", *ours_alone, cwd=tmp_path).count("seconds") == 1
    both = ("train", data, "--contenders", ours, rival, "--minutes", "0.03", "--at", "0.01", *common)
    assert run("minutes.py", *both, cwd=tmp_path).count("seconds") == 1
    page = "docs/experiments/page.md"
    judging = ("minutes.py", "judge", "minutes", "--rows", "rows.jsonl", "--samples", "64", "--page", page)
    judged = run(*judging, cwd=tmp_path)

    assert run(*judging, cwd=tmp_path) == judged, "nothing is judged twice"
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 3
    rows = [line.removeprefix("| ").split(" | ") for line in judged.splitlines() if line.startswith("| ")][1:]
    assert {cells[1] for cells in rows} == {ours, rival, "the data itself"}
    assert sorted(cells[0] for cells in rows if cells[1] == rival) == ["0.01", "0.03"]
    assert len(list((tmp_path / "minutes").rglob("*.npy"))) == 3
    pictures = tmp_path / "docs/pictures"
    assert len(list(pictures.glob("minutes-*.png"))) == 2
    assert (pictures / "minutes-p.svg").read_text().count("<polyline") == 2
    shown = re.findall(r"\]\(\.\./pictures/([^)]+)\)", judged)
    assert sorted(shown) == sorted(path.name for path in pictures.iterdir())


def test_modes_counts_what_samples_have(monkeypatch):
    """By hand: triples of digits with and without certainty; points within and beyond three deviations."""
    monkeypatch.syspath_prepend(FOLDER)
    import modes

    chances = np.full((5, 3, 10), 0.01)
    for i, (triple, sure) in enumerate([(123, 0.95), (123, 0.95), (123, 0.95), (7, 0.95), (999, 0.5)]):
        for place, digit in enumerate(f"{triple:03d}"):
            chances[i, place, int(digit)] = sure
    found = modes.modes_of_digits(chances)
    assert (found["modes"], found["sure"]) == (3, 1)
    assert found["kl"] == pytest.approx(np.log(1000) + 0.6 * np.log(0.6) + 2 * 0.2 * np.log(0.2))

    centers, deviation = modes.mixture("grid25")
    x = np.array([[2.0, -4.0], [2.14, -4.0], [2.16, -4.0], [0.0, 0.0]])
    found = modes.modes_of_points(x, centers, deviation)
    assert (found["modes"], found["quality"]) == (2, 0.75)
    assert found["spread"] == pytest.approx(np.sqrt(0.14**2 / 6) / 0.05)
    assert found["kl"] == pytest.approx(np.log(25) + 2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))


def test_modes_keeps_lengths_apart(monkeypatch):
    """Two seeds of one length are a row; another length is another row."""
    monkeypatch.syspath_prepend(FOLDER)
    import modes

    row = {"preset": "ring8", "cure": "none", "modes": 8, "quality": 0.9, "kl": 0.1, "spread": 1.0}
    shown = modes.table([{**row, "kimg": kimg, "seed": seed} for kimg, seed in ((10, 0), (20, 0), (10, 1))])
    assert [line.split(" | ")[1:3] for line in shown.splitlines() if "none" in line] == [["2", "10"], ["1", "20"]]


@pytest.mark.parametrize("preset", ["ring8", "grid25"])
def test_modes_knows_where_the_gaussians_are(monkeypatch, preset):
    """The built-in data has all modes and 98.9% of high quality."""
    monkeypatch.syspath_prepend(FOLDER)
    import modes

    values = open_dataset(f"builtin:{preset}", Shape(32, 32, None, "crop")).values
    found = modes.modes_of_points(np.asarray(values, float), *modes.mixture(preset))
    assert found["modes"] == modes.MODES[preset]
    assert found["quality"] == pytest.approx(1 - np.exp(-4.5), abs=0.003)
    assert found["kl"] < 0.01


@pytest.mark.slow
def test_modes_trains_every_cure_once(tmp_path):
    """A line per cure and seed, and a table with the published figures."""
    command = ["points", "ring8", "--cures", "none", "packing", "--out", "points.jsonl", "--set", "train.duration=640"]
    for _ in range(2):
        run("modes.py", *command, cwd=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "points.jsonl").read_text().splitlines()]
    assert [(row["cure"], row["seed"], row["kimg"]) for row in rows] == [("none", 0, 0.64), ("packing", 0, 0.64)]
    shown = run("modes.py", "table", "points.jsonl", cwd=tmp_path)
    names = [line.split(" | ")[0] for line in shown.splitlines()[4:] if line]
    assert names == ["| none", "| packing", "| GAN (PacGAN's)", "| PacGAN2"]


@pytest.mark.slow
def test_modes_names_digits(tmp_path):
    """Digits that are easy to tell: the classifier names them, and stacked ones are labeled by their channels."""
    labels = np.arange(4_000) % 10
    images = np.zeros((4_000, 28, 28), np.uint8)
    for i, label in enumerate(labels):
        images[i, 2 * label : 2 * label + 6] = 255
    write_idx(tmp_path, images, labels)
    run("modes.py", "data", ".", "stacked.npy", "--count", "100", cwd=tmp_path)
    assert np.load(tmp_path / "stacked.npy").shape == (100, 28, 28, 3)
    small = ["--set", "train.duration=64", "--set", "network.width=0.1", "--samples", "200"]
    shown = run("modes.py", "digits", ".", "stacked.npy", "--out", "digits.jsonl", *small, cwd=tmp_path)
    assert "100.00% of 2,000 unseen digits" in shown
    (row,) = [json.loads(line) for line in (tmp_path / "digits.jsonl").read_text().splitlines()]
    assert 1 <= row["sure"] <= row["modes"] <= 1000 or row["sure"] == 0


@pytest.mark.slow
def test_augmentation_is_judged_by_the_images_left_out(tmp_path):
    """Both ways are trained on the same part of the images, and a copy of a training image is at distance zero."""
    images = tmp_path / "images.zip"
    with zipfile.ZipFile(images, "w") as archive:
        for picture in sorted(make_pictures(tmp_path / "pictures", 280).iterdir()):
            archive.write(picture, picture.name)
    small = ["--kimg", "0.08", "--count", "140", "--set", "growth.scale=1e-9"]

    run("augmentation.py", "train", images, "--out", "aug", *small, cwd=tmp_path)
    shown = run("augmentation.py", "judge", "aug", "--rows", "rows.jsonl", "--samples", "64", cwd=tmp_path)

    parts = [set(zipfile.ZipFile(tmp_path / "aug" / f"{part}.zip").namelist()) for part in ("train", "rest")]
    assert [len(part) for part in parts] == [140, 140]
    assert not set.intersection(*parts)
    assert [line.split(" | ")[1] for line in shown.splitlines()[2:]] == ["augmented", "plain"]
    runs = [next((tmp_path / "aug" / f"{way}-0").iterdir()) for way in ("augmented", "plain")]
    configs = [gancli.load(run).checkpoint.config for run in runs]
    assert configs[0].augment is not None
    assert configs[0].model_copy(update={"augment": None}) == configs[1]


def test_the_critics_gap_is_one_if_all_unseen_images_look_like_samples(monkeypatch):
    """Scores 3 for the training set, -1 for samples: 0 if unseen images score 3, 1/4 at 2, 1 at -1."""
    monkeypatch.syspath_prepend(FOLDER)
    import augmentation

    scores = {"build": lambda config: SimpleNamespace(D=torch.nn.Identity())}
    scores["CriticView"] = lambda critic, phase: SimpleNamespace(scores=lambda x: x.flatten())
    scores["checkpoint"] = SimpleNamespace(fill=lambda *given: None)
    for name, stub in scores.items():
        monkeypatch.setattr(augmentation, name, stub)
    opened = SimpleNamespace(config=None, weights={"D": None}, path=None)
    model = SimpleNamespace(checkpoint=opened, phase=None)
    for unseen, gap in ((3.0, 0.0), (2.0, 0.25), (-1.0, 1.0)):
        sides = [torch.full((20, 1), value) for value in (-1.0, 3.0, unseen)]
        assert augmentation.gap(model, *sides) == pytest.approx(gap)


def test_the_train_distance_of_pixels_is_zero_for_mirrored_copies(monkeypatch):
    """The nearest training image may be mirrored; at a constant difference of .1, it is .1 times the root of 768."""
    monkeypatch.syspath_prepend(FOLDER)
    import augmentation

    trained = torch.rand(5, 3, 32, 32)
    assert augmentation.nearest(trained.flip(3), trained) == pytest.approx(0, abs=1e-4)
    assert augmentation.nearest(trained + 0.1, trained) == pytest.approx(0.1 * 768**0.5, rel=1e-4)


def write_idx(folder, images, labels):
    """Both files of MNIST."""
    for name, values in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
        head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
        (folder / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
