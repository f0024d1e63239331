"""What the tests share: a tiny network, a tiny folder of pictures, and a cache of their own."""

import os
import signal
import sys
from dataclasses import MISSING, fields

import numpy as np
import pytest
import torch
from PIL import Image

from gancli import checkpoint
from gancli import config as configs
from gancli.config import presets
from gancli.results import SCHEMA_VERSION, Tick

TINY = {
    "preset": "tiny",
    "data": {"held_out": 0.0},
    "network": {"resolution": 16, "z_dim": 8, "channels": [8, 8, 4]},
    "loss": {"adversarial": "relativistic", "r1": 0.1, "r2": 0.1, "penalty_interval": 3},
    "growth": {"fade": 32, "stable": 32},
    "train": {
        "batch_size": 8,
        "lr": 0.002,
        "tick_every": 40,
        "sample_every": 0,
        "checkpoint_every": 0,
        "ema_half_life": 50,
    },
}


if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two tests at once would wait for one another's threads
    torch.set_num_threads(1)


LONGEST = ["test_trust.py", "test_methods.py", "test_training.py", "test_cli.py", "test_workers.py", "test_ablate.py"]


def pytest_collection_modifyitems(items):
    """What takes minutes comes first, so that no worker is left with it at the end."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:  # pytest runs in the background, or under nohup
        signal.signal(_number, _handler)  # else the commands under test would ignore it, too


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's cache, and no GANCLI_ variable of the user's reaches a test."""
    for name in [key for key in os.environ if key.startswith("GANCLI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GANCLI_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def tiny(tmp_path):
    """A preset file that trains in a second: 4 to 16 px, 160 images in all."""
    return write_preset(tmp_path / "tiny.yaml", {})


def write_preset(path, changes):
    """The tiny preset with dotted changes, as a file."""
    values = configs.overrides.apply(TINY, changes)
    values = {key: value for key, value in values.items() if key != "preset"}
    path.write_text(configs.yaml.dump(values))
    return str(path)


def tiny_config(**changes):
    """The tiny preset, resolved for RGB pictures; changes are dotted keys with __ for the dots."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return resolved_config({"train.duration": 160, **dotted}, TINY)


def resolved_config(changes, preset, shape=None):
    """A preset (values, or a name) with dotted changes, as a run on samples of that shape would have it."""
    values = preset if isinstance(preset, dict) else presets.load_values(preset)
    values = configs.overrides.apply(values, {k: v for k, v in changes.items() if not k.startswith("samples.")})
    shape = shape or (3, *presets.build(values, "test").network.picture_size)
    facts = {"kind": ("points", "signal", "image")[len(shape) - 1], "shape": shape, "fingerprint": "test"}
    own = {k.removeprefix("samples."): v for k, v in changes.items() if k.startswith("samples.")}
    ready = {"train.duration": 160, "train.precision": "fp32", "data.source": "test", "samples": {**facts, **own}}
    train = values.get("train", {})
    kept = {key: value for key, value in ready.items() if train.get(key.removeprefix("train.")) in (None, "auto")}
    return presets.build_resolved(configs.overrides.apply(values, {"data.source": "test", **kept}), "test")


def tick_row(**changes):
    """A line of stats.jsonl, with every field that a tick has."""
    tick = {field.name: 0.5 for field in fields(Tick) if field.default is MISSING}
    counts = {"kimg": 0.008, "images": 8, "generator_steps": 1, "resolution": 16, "alpha": 1.0, "batch": 8}
    return {"schema_version": SCHEMA_VERSION, **tick, **counts, "warnings": [], **changes}


CLOCK = {"seconds", "images_per_s", "memory_mib"}
CLOCK |= {"ema_std_ratio", "ema_nearest_ratio", "overfitting", "held_out_gap", "verdict"}  # measured if there is time


def tensors_of(path):
    """Every tensor of a checkpoint, by name."""
    read = checkpoint.read(path)
    found = {f"{net}/{name}": t for net, weights in read.weights.items() for name, t in weights.items()}
    for net, memories in read.optimizers.items():
        found |= {f"adam/{net}/{name}/{key}": t for name, memory in memories.items() for key, t in memory.items()}
    return found | dict(read.extra)


def log_of(run, *without):
    """The log without what depends on the clock."""
    return [{key: value for key, value in row.items() if key not in CLOCK.union(without)} for row in run.stats()]


@pytest.fixture
def pictures(tmp_path):
    """A folder with 24 small color pictures."""
    return make_pictures(tmp_path / "pictures", 24)


def make_pictures(folder, count, size=20, seed=0):
    """`count` PNGs of smooth random colors."""
    folder.mkdir(parents=True)
    rng = np.random.RandomState(seed)
    for i in range(count):
        coarse = Image.fromarray(rng.randint(0, 256, (3, 3, 3)).astype(np.uint8))
        coarse.resize((size, size), Image.Resampling.BILINEAR).save(folder / f"{i:03d}.png")
    return folder


@pytest.fixture
def gancli(monkeypatch, capfd):
    """Run a command in this process: gancli("train", ...) -> (exit code, stdout, stderr)."""
    from gancli import cli
    from gancli.cli import show

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gancli", *map(str, words)])
        monkeypatch.setattr(show, "voice", show.Voice())
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return run
