"""One training step of every kind of preset, against tests/reference.py: the papers' formulas in float64.

Longer than most files, since a turn of the training is pinned here as a whole, for all families at once.

gancli computes in float32, whose rounding is 6e-8 of a number; summed up and carried over a few steps it is 1e-5 of a
gradient in the middle of these tests and rarely 1e-3, so 2e-3 is allowed. A large eps keeps Adam from blowing up
what is left of a gradient that is zero. The mistakes looked for change a term by a tenth or more.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import resolved_config, tiny_config
from reference import (
    Training,
    doubled,
    doubles,
    halved,
    latents,
    leaky,
    mixed,
    progressive_generator,
    squared_slopes,
    stream,
)
from torch.nn.functional import conv2d

from gancli import checkpoint, growth
from gancli.data import Feed
from gancli.data.cache import Dataset
from gancli.runs import Run
from gancli.stats.sample_sets import prepared
from gancli.training import loop
from gancli.training.callbacks import Silent
from gancli.training.state import TrainState
from gancli.training.step import train_critic, train_generator
from gancli.training.tick_metrics import overfitting

CPU = torch.device("cpu")
ADAM = {"betas": [0.5, 0.9], "eps": 0.01, "generator_lr_factor": 0.5}
NEAR = 2e-3  # of a gradient, or of the way that a weight has gone
SEEDS = (0, 1, 3)
LOSSES = ("critic_loss", "d_real", "d_fake", "score_gap", "penalty", "generator_loss", "moments", "perceptual")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are too small to share, and a sum's rounding depends on how it is shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fixed_config(network, shape=(3, 8, 8), **changes):
    """A config of a family that does not grow, for samples of a shape; changes as in tiny_config."""
    pictures_only = {"resolution": shape[1]} if len(shape) == 3 else {}
    base = {
        "network": {**pictures_only, "z_dim": 6, "output": "tanh", **network},
        "loss": {"adversarial": "non-saturating"},
        "optimizer": ADAM,
        "train": {"batch_size": 8, "lr": 0.02, "duration": 160, "ema_half_life": 50},
    }
    return resolved_config({key.replace("__", "."): value for key, value in changes.items()}, base, shape)


def growing_config(**changes):
    """The tiny progressive preset with an Adam whose steps a small gradient does not upset."""
    return tiny_config(**{"optimizer": ADAM, "train__lr": 0.02, **changes})


def facts_of(config):
    """What a config says of its samples."""
    return config.samples


def pictures(count=24, size=16, seed=0):
    """Hard black and white blocks with noise: a critic's slope at them is not that at a fresh generator's gray."""
    rng = np.random.RandomState(seed)
    blocks = rng.choice([0, 255], (count, 4, 4, 3)).repeat(size // 4, 1).repeat(size // 4, 2)
    return np.clip(blocks + rng.randint(-40, 40, blocks.shape), 0, 255).astype(np.uint8)


def samples(config):
    """Pictures, or signals and points far from 0."""
    shape = facts_of(config).shape
    if len(shape) == 3:
        return pictures(size=shape[1])
    return np.random.RandomState(0).normal(30, 5, (24, *shape)).astype(np.float32)


def dataset_of(values, held_out=None):
    held_out = np.zeros(len(values), bool) if held_out is None else held_out
    kind = {4: "image", 3: "signal", 2: "points"}[values.ndim]
    return Dataset(kind, values, held_out, "none", None)


def phase_of(config, images):
    return growth.Schedule.of(config).phase_at(images)


def fresh(config, images=0, turns=0):
    """gancli's state with no bias at 0, no gamma at 1, an average that is not the generator, and a steep critic."""
    state, draw = TrainState.fresh(config, CPU), torch.Generator().manual_seed(config.train.seed)
    with torch.no_grad():
        for network in (state.G, state.D, state.ema):
            for name, parameter in network.named_parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
                parameter *= 4 if name == "score.weight" else 2 if "from_rgb" in name else 1
                if "to_rgb" in name and "bias" in name:
                    parameter += 3  # bright fakes, at which the slopes are not those at the reals
    state.images, state.generator_steps = images, turns
    return state


def one_turn(state, config, feed):
    """What the training loop does between two looks at the clock, its bookkeeping left out. The losses."""
    before = state.images
    phase = phase_of(config, before)
    losses, shown = train_critic(state, config, feed, phase, state.images)
    losses = losses | train_generator(state, config, phase, shown)
    loop.average(state, config, state.images - before)
    if growth.resets_optimizer(config, phase, phase_of(config, state.images)):
        state.clear_adam()
    return {name: float(value.detach()) for name, value in losses.items()}


def whole_run(state, config, values, folder):
    """gancli's training loop itself, to the end of the config's duration."""
    folder.mkdir()
    loop.train(state, Run(folder), config, dataset_of(values), Silent())


def both(config, values=None, faster=lambda side, name: 1.0, **at):
    """gancli's state and feed, and the reference on the same weights and data."""
    values = samples(config) if values is None else values
    state, feed = fresh(config, **at), Feed(dataset_of(values), config)
    start = {"G": doubles(state.G), "D": doubles(state.D), "ema": doubles(state.ema)}
    reference = Training(config, facts_of(config), state, values, faster=faster)
    return SimpleNamespace(config=config, state=state, feed=feed, reference=reference, values=values, start=start)


def take_turns(config, count, **at):
    """Both take some turns and agree after each, at the first seed or at another.

    A unit that is within rounding of its kink falls to one side in float32 and to the other in float64, once in
    a hundred of these tests, on other machines in others of them. A mistake shows at every seed.
    """
    at_some_seed(config, lambda seeded: agree(both(seeded, **at), count))


def at_some_seed(config, check):
    """Run a check with one seed after the other until it passes; raise what it raises with the last."""
    for seed in SEEDS:
        seeded = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
        try:
            return check(seeded)
        except AssertionError:
            if seed == SEEDS[-1]:
                raise


def agree(pair, count):
    """After each turn: losses, the gradients of both networks, and where the weights and their average are."""
    for _ in range(count):
        ours = one_turn(pair.state, pair.config, pair.feed)
        pair.reference.turn()
        assert_losses(ours, pair.reference.losses)
        assert_near(gradients(pair.state.G), pair.reference.gradients_G)
        assert_near(gradients(pair.state.D), pair.reference.gradients_D)
        assert_moves(pair)


def gradients(network):
    """Those of the last step; a parameter that takes no part has none."""
    return {name: p.grad.double() for name, p in network.named_parameters() if p.grad is not None}


def assert_losses(ours, expected):
    assert {name for name in ours if name in LOSSES} >= expected.keys()
    assert ("penalty" in ours) == ("penalty" in expected)
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, rel=5e-4, abs=5e-5), name


def assert_moves(pair):
    """How far Adam and averaging have brought every weight, and batches the generator's moving statistics."""
    for side in ("G", "D", "ema"):
        now, start, expected = (doubles(getattr(pair.state, side)), pair.start[side], getattr(pair.reference, side))
        moved = {name: now[name] - start[name] for name in now if counts(side, name)}
        assert_near(moved, {name: (expected[name] - start[name]) for name in moved})


def counts(side, name):
    return "num_batches" not in name and not (side == "D" and "running" in name)


def assert_near(ours, expected):
    """Each tensor's error is a small share of its size, or of all sizes where its own is next to nothing."""
    assert ours.keys() == expected.keys()
    sizes = {name: float(tensor.detach().norm()) for name, tensor in expected.items()}
    whole = sum(size**2 for size in sizes.values()) ** 0.5
    for name, size in sizes.items():
        error = float((ours[name] - expected[name]).detach().norm())
        assert error <= NEAR * (size + 0.01 * whole) + 1e-6, (
            f"{name} is off by {error:.2g} where its size is {size:.2g}"
        )


def recorded(network):
    """What enters and leaves a network from now on."""
    calls = []
    network.register_forward_hook(lambda _, inputs, output: calls.append((inputs[0], output.detach())))
    return calls


def assert_all_close(ours, expected):
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a.double(), b.detach(), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def drawn_apart(G, z):
    """How far a progressive generator's full-size pictures are from those of its weights in float64."""
    exact = progressive_generator(doubles(G), z, growing_config().network, (3, 16, 16), 2, 1.0, True)
    return float((G(z.float(), 2, 1.0).double() - exact).abs().max())


def slopes_and_losses(loss):
    """E|grad D|^2 at the reals and the fakes of a turn in float64, and what gancli logs of that turn."""
    pair = both(growing_config(loss=loss), images=136)
    exact = pair.reference
    exact.at = exact.segment()
    sides = exact.reals(), exact.generate(exact.G, exact.latents("latents"))
    at_reals, at_fakes = (float(squared_slopes(exact.judge, side).mean().detach()) for side in sides)
    return at_reals, at_fakes, one_turn(pair.state, pair.config, pair.feed)


def moves_of_one_turn(config):
    """How far a first weight of each network goes."""
    pair = both(config)
    one_turn(pair.state, config, pair.feed)
    return {
        side: doubles(getattr(pair.state, side))["dense.weight"] - pair.start[side]["dense.weight"] for side in "GD"
    }


def split(values):
    return torch.from_numpy(values[:8]), torch.from_numpy(values[8:])


@torch.no_grad()
def share_known(state, feed, config, scores):
    """gancli's figure of overfitting, from the critic's means on training samples and fakes."""
    return overfitting(state, feed, phase_of(config, state.images), scores)["overfitting"]


def opened_at(run, config):
    """The images of the checkpoint from which a run goes on."""
    state = TrainState.fresh(config, CPU)
    state.load(run, lambda text: None)
    return state.images


MLP = {
    "family": "mlp",
    "generator": {"hidden": [10, 12], "activation": "relu", "norm": "batch"},
    "critic": {"hidden": [12, 10], "norm": "batch"},
}
DENSE = {
    "family": "mlp",
    "z_distribution": "uniform",
    "z_scale": 0.5,
    "generator": {"hidden": [10, 12]},
    "critic": {"hidden": [12, 10]},
    "minibatch_std": {"group_size": 4},
}
IWGAN = {
    "family": "conv",
    "init_std": 0.1,
    "bn_decay": 0.9,
    "generator": {
        "dense": 12, "activation": "relu", "norm": "batch", "norm_first": False, "last_kernel": 5,
        "layers": [{"channels": 12, "kernel": 5}, {"channels": 8, "kernel": 3, "resample": "up"}],
    },
    "critic": {
        "norm": "layer", "norm_first": False,
        "layers": [{"channels": 8, "kernel": 3, "padding": "none"}, {"channels": 12, "kernel": 4, "stride": 2}],
    },
}  # fmt: skip
SPREAD_CONV = {
    "family": "conv",
    "minibatch_std": {"group_size": "all"},
    "generator": {"dense": 8, "layers": [{"channels": 8, "resample": "up"}]},
    "critic": {
        "activation": "elu", "score": "tanh", "dense": [6],
        "layers": [{"channels": 8, "resample": "down"}], "last": [{"channels": 6}],
    },
}  # fmt: skip
SUPERRES = {
    "family": "superres",
    "channels": 6,
    "blocks": 2,
    "critic": {"layers": [{"channels": 8, "kernel": 4, "stride": 2}], "dense": [6]},
}
SIGNALS = {
    "family": "conv",
    "output": "linear",
    "minibatch_std": {"group_size": 4},
    "generator": {"dense": 8, "layers": [{"channels": 8, "resample": "up"}, {"channels": 6, "kernel": 5}]},
    "critic": {
        "activation": "elu", "dense": [6],
        "layers": [{"channels": 6, "kernel": 5, "stride": 3}, {"channels": 8, "kernel": 2, "padding": "none"}],
    },
}  # fmt: skip
POINTS = {**DENSE, "output": "linear"}
DROPOUT = {**MLP, "generator": {"hidden": [10, 12], "norm": "batch", "dropout": [0.5]}, "critic": {"hidden": [12]}}
RESIDUAL = {"family": "residual", "output": "linear", "channels": [8, 6], "blocks": 2, "group_width": 4}
ANNEALED = {
    "anneal": {
        "lr": {"end": 0.2, "over": 0.4},
        "beta2": {"start": 0.5, "end": 0.99},
        "penalty": {"start": 2, "end": 0.1},
        "ema_half_life": {"start": 0.0, "end": 2.0},
    },
    "loss": {"adversarial": "relativistic", "r1": 0.3, "r2": 0.7},
}
FAR = {"samples__center": 30.0, "samples__scale": 10.0}
GAME = {"family": "mlp", "generator": {"hidden": [10]}, "critic": {"hidden": [10]}}
EVAL = {"train__critic_fakes": "eval", "train__shared_fakes": False, "train__critic_steps": {"base": 2}}

RECIPES = {
    "relativistic, R1 and R2": {"loss": {"adversarial": "relativistic", "r1": 0.3, "r2": 0.7}},
    "non-saturating, lazy R1": {"loss": {"adversarial": "non-saturating", "r1": 0.5, "penalty_interval": 2}},
    "wasserstein, GP and drift": {"loss": {"adversarial": "wasserstein", "gradient_penalty": 10, "drift": 0.1}},
    "wasserstein, lazy GP": {"loss": {"adversarial": "wasserstein", "gradient_penalty": 10, "penalty_interval": 2}},
    "hinge, lazy R2": {"loss": {"adversarial": "hinge", "r2": 0.5, "penalty_interval": 3}},
    "least squares, GP": {"loss": {"adversarial": "least-squares", "gradient_penalty": 1, "r1": 0.2}},
}
NETWORKS = {
    "networks of the reference's plainest form": {"network__fused_down": False, "network__pixel_norm": False},
    "latents as they are drawn": {"network__normalize_z": False},
    "no minibatch std": {"network__minibatch_std": None},
    "a residual critic": {"network__residual_critic": True},
    "bilinear doubling": {"network__upsampling": "bilinear"},
    "noise": {"network__noise": True, "network__normalize_z": False},
    "bilinear doubling and noise": {"network__upsampling": "bilinear", "network__noise": True},
}
TRAINING = {
    "three critic steps, fresh fakes": {"train__critic_steps": {"base": 3}, "train__shared_fakes": False},
    "a changing number of critic steps": {"train__critic_steps": {"base": 2, "boost": 3, "first": 1, "every": 2}},
    "a falling rate": {"optimizer__decay": {"share": 0.9, "to": 0.1}},
    "mirrored": {"data__mirror": True},
    "moments by channel": {"loss__moments": {"weight": 0.3, "over": "channel"}},
    "moments by blocks": {"loss__moments": {"weight": 0.3, "over": "pooled", "pool": 2}},
    "a stage of its own rate and batch": {"growth__at": {8: {"lr": 0.01, "batch_size": 4}, 16: {"lr": 0.005}}},
    "lazy penalties between turns": {"train__critic_steps": {"base": 3}, "loss__r1": 3.0, "loss__penalty_interval": 2},
    "lazy penalties with boosts": {
        "train__critic_steps": {"boost": 4, "every": 2},
        "loss__r1": 3.0,
        "loss__penalty_interval": 2,
    },
    "a run that goes on from another": {
        "origin": {"verb": "transfer", "checkpoint": "other.pt", "digest": "0", "images": 500}
    },
    "no ramp": {"train__ema_ramp": 0.0},
    "no average": {"train__ema_half_life": 0},
    "the paper's Adam": {"optimizer__betas": [0.0, 0.99]},
    "packs": {"network__pack": 2, "loss": {"adversarial": "relativistic", "r1": 0.3, "r2": 0.7}},
    "packs, and a gradient penalty": {
        "network__pack": 2,
        "loss": {"adversarial": "wasserstein", "gradient_penalty": 1},
    },
    "the better half of the fakes": {"loss__top_k": 0.5},
    "the best fakes, fewer and fewer": {"loss__top_k": 0.9, "anneal": {"top_k": {"end": 0.2}}},
    "everything annealed": {**ANNEALED, "train__ema_ramp": 0.0},
    "annealed, and a falling rate": {"anneal": {"lr": {"end": 0.5}}, "optimizer__decay": {"share": 0.9, "to": 0.1}},
}
FIXED = {
    "mlp, batch norm in both": (MLP, {"optimizer__betas": [0.5, 0.999]}),
    "mlp, moments": (DENSE, {"loss__moments": {"weight": 0.1}}),
    "mlp, fakes by moving statistics": (MLP, EVAL),
    "mlp, batch norm and fresh fakes": (MLP, {"train__shared_fakes": False}),
    "mlp, batch norm, three critic steps": (MLP, {"train__critic_steps": {"base": 3}}),
    "iwgan": (IWGAN, {"loss": {"adversarial": "wasserstein", "gradient_penalty": 10}, **EVAL}),
    "iwgan, bn-tanh": (IWGAN | {"output": "bn-tanh"}, {}),
    "iwgan, bn-clip": (
        IWGAN | {"output": "bn-clip"},
        {"samples__mean": [0.1, 0, -0.2], "samples__std": [0.5, 0.6, 0.7]},
    ),
    "conv with minibatch std": (SPREAD_CONV, {"loss": {"adversarial": "hinge", "r1": 0.1, "r2": 0.4}}),
    "signals": (SIGNALS, {"shape": (2, 12), **FAR, "loss": {"adversarial": "relativistic", "r1": 0.1, "r2": 0.4}}),
    "points": (POINTS, {"shape": (2,), **FAR, "loss": {"adversarial": "wasserstein", "gradient_penalty": 1}}),
    "dropout": (DROPOUT, {"train__critic_steps": {"base": 2}}),
    "dropout and fresh fakes": (DROPOUT, {"train__shared_fakes": False}),
    "residual": (RESIDUAL, {"loss": {"adversarial": "relativistic", "r1": 0.1, "r2": 0.4}}),
    "residual, minibatch std": (RESIDUAL | {"minibatch_std": {"group_size": 4}}, {}),
    "packs of points": (POINTS | {"pack": 4, "minibatch_std": None}, {"shape": (2,), **FAR}),
    "packs of signals": (SIGNALS | {"pack": 2}, {"shape": (2, 12), **FAR}),
    "superres": (SUPERRES, {"loss": {"adversarial": "none", "perceptual": {"layers": {"conv1_1": 1, "conv2_1": 0.5}}}}),
}


class TestATurn:
    """Losses, gradients, weights after Adam, the average: all of them after each of some turns."""

    @pytest.mark.parametrize("images", [0, 40, 72, 104, 136])
    @pytest.mark.parametrize("recipe", RECIPES)
    def test_of_the_progressive_pair_in_every_game(self, recipe, images):
        """At 4 px, a quarter faded to 8 and on, stable there, a quarter faded to 16 and on, at full size."""
        take_turns(growing_config(**RECIPES[recipe]), 2, images=images, turns=5)

    @pytest.mark.parametrize("images", [40, 136])
    @pytest.mark.parametrize("switch", NETWORKS)
    def test_of_the_progressive_pair_with_every_switch(self, switch, images):
        """Each technique can be left out or added, in a fade and at full size."""
        take_turns(growing_config(**NETWORKS[switch]), 2, images=images)

    @pytest.mark.parametrize("way", TRAINING)
    def test_in_every_way_of_training(self, way):
        """Critic steps, shared or fresh fakes, rates, flips, moments, the ways to average."""
        take_turns(growing_config(**TRAINING[way]), 4, images=48)

    @pytest.mark.parametrize("kind", FIXED)
    def test_of_the_pairs_that_do_not_grow(self, kind):
        """Dense and convolutional pairs for pictures, signals and points; batch norm, dropout; enlarged pictures."""
        network, changes = FIXED[kind]
        take_turns(fixed_config(network, **changes), 3)

    def test_and_of_a_whole_run(self, tmp_path):
        """The loop itself, from 4 px to 16: every fade, Adam forgotten at both its ends, the average every turn."""

        def check(config):
            pair = both(config)
            whole_run(pair.state, config, pair.values, tmp_path / f"seed{config.train.seed}")
            while pair.reference.images < 160:
                pair.reference.turn()
            assert (pair.state.images, pair.state.generator_steps) == (160, 10)
            assert_moves(pair)

        at_some_seed(growing_config(train__critic_steps={"base": 2}, train__shared_fakes=False), check)


class TestTheCriticsSide:
    def test_r1_weighs_the_slope_at_reals_and_r2_that_at_fakes(self):
        """r1 / 2 E|grad D(x)|^2 + r2 / 2 E|grad D(y)|^2, where the two slopes are far from one another."""
        at_reals, at_fakes, losses = slopes_and_losses({"adversarial": "relativistic", "r1": 0.3, "r2": 0.7})

        assert not 2 / 3 < at_reals / at_fakes < 3 / 2
        assert losses["penalty"] == pytest.approx(0.15 * at_reals + 0.35 * at_fakes, rel=5e-2)

    def test_a_lazy_penalty_is_absent_between_its_steps(self):
        """With one critic step a turn and a penalty on every third, two turns of three go without."""
        pair = both(growing_config(loss__penalty_interval=3))

        logged = ["penalty" in one_turn(pair.state, pair.config, pair.feed) for _ in range(7)]

        assert logged == [True, False, False, True, False, False, True]

    def test_both_sides_are_judged_in_one_call_where_groups_stay_apart(self):
        """Twice the batch, half the calls; the whole batch as a group needs two."""
        for group, sizes in ((4, [16]), ("all", [8, 8])):
            config = growing_config(network__minibatch_std={"group_size": group})
            pair = both(config)
            seen, view = [], pair.state.critic_view(phase_of(config, 0))
            features = view.D.features
            view.D.features = lambda x, *at, seen=seen, features=features: seen.append(len(x)) or features(x, *at)

            view.both(*torch.zeros(2, 8, 3, 4, 4))

            assert seen == sizes

    @pytest.mark.parametrize("batch", [8, 12, 16])
    def test_packs_of_both_sides_stay_apart_too(self, batch):
        """Each side's scores are those it has alone, whether or not its packs fill the groups of minibatch std."""
        config = growing_config(network__pack=2)
        view = TrainState.fresh(config, CPU).critic_view(phase_of(config, 160))
        x, y = torch.randn(2, batch, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        for found, alone in zip(view.both(x, y), (view.scores(x), view.scores(y)), strict=True):
            assert len(found) == batch // 2
            torch.testing.assert_close(found, alone)

    def test_without_a_game_the_critic_s_losses_are_zero(self):
        """They are logged all the same, and the clock moves."""
        pair = both(fixed_config(GAME, loss={"adversarial": "none", "moments": {"weight": 1.0}}))

        losses = one_turn(pair.state, pair.config, pair.feed)

        assert {losses[name] for name in ("critic_loss", "d_real", "d_fake", "score_gap")} == {0}
        assert pair.state.images == 8

    def test_the_number_of_steps_is_boosted_at_first_and_on_every_nth_turn(self):
        """base 1, boost 4: on turns 0 and 1, and on turns 0, 3, 6."""
        steps = {"base": 1, "boost": 4, "first": 2, "every": 3}
        pair = both(fixed_config(GAME, train__critic_steps=steps))
        shown = [0]

        for _ in range(7):
            one_turn(pair.state, pair.config, pair.feed)
            shown.append(pair.state.images)

        assert np.diff(shown).tolist() == [32, 32, 8, 32, 8, 8, 32]


class TestWhatTheGeneratorIsAskedFor:
    """Latents by name and position, statistics by mode; recorded where they enter and leave the network."""

    def test_shared_fakes_are_those_of_the_last_critic_step(self):
        """Two critic steps, two batches of latents, none of the generator's own."""
        pair = both(fixed_config(MLP, train__critic_steps={"base": 2}), images=48)
        calls = recorded(pair.state.G)

        one_turn(pair.state, pair.config, pair.feed)

        expected = [latents(pair.config, "latents", images) for images in (48, 56)]
        assert_all_close([z for z, _ in calls], expected)

    def test_only_fakes_that_are_shared_keep_their_graph(self):
        """A graph that nobody walks back would cost memory."""
        for shared in (True, False):
            pair = both(fixed_config(MLP, train__critic_steps={"base": 2}, train__shared_fakes=shared), images=48)
            made = []
            pair.state.G.register_forward_hook(lambda _, inputs, y, made=made: made.append(y.requires_grad))

            train_critic(pair.state, pair.config, pair.feed, phase_of(pair.config, 48), pair.state.images)

            assert made == [False, shared]

    def test_fresh_fakes_have_latents_of_their_own(self):
        """Drawn at the clock after the critic's steps."""
        pair = both(fixed_config(MLP, train__critic_steps={"base": 2}, train__shared_fakes=False), images=48)
        calls = recorded(pair.state.G)

        one_turn(pair.state, pair.config, pair.feed)

        named = [("latents", 48), ("latents", 56), ("generator latents", 64)]
        assert_all_close([z for z, _ in calls], [latents(pair.config, *at) for at in named])

    def test_a_network_that_enlarges_gets_the_reals_made_smaller(self):
        """Means of 4 x 4 pixels, for the critic's step and, where fakes are fresh, for its own; not latents."""
        loss = {"adversarial": "hinge", "perceptual": {"weight": 0.1}}
        pair = both(fixed_config(SUPERRES, loss=loss, train__shared_fakes=False), images=48)
        calls, phase = recorded(pair.state.G), phase_of(pair.config, 48)
        x = pair.feed.batch_at(48, phase).double()
        small = x.unflatten(3, (-1, 4)).unflatten(2, (-1, 4)).mean((3, 5))

        one_turn(pair.state, pair.config, pair.feed)

        assert_all_close([z for z, _ in calls], [small, small])

    @pytest.mark.parametrize("network", [MLP, IWGAN])
    def test_critic_fakes_eval_are_by_moving_statistics_and_only_theirs(self, network):
        """Whatever shared_fakes says, the generator's own step is on fresh latents and by its batch."""
        pair = both(fixed_config(network, train__critic_fakes="eval"), images=48)
        calls, w = recorded(pair.state.G), doubles(pair.state.G)
        pair.reference.at = pair.reference.segment()

        one_turn(pair.state, pair.config, pair.feed)

        z_critic, z_generator = latents(pair.config, "latents", 48), latents(pair.config, "generator latents", 56)
        by_moving = pair.reference.generate(w, z_critic, train=False)
        by_batch = pair.reference.generate(w, z_generator, train=True)
        assert_all_close([z for z, _ in calls], [z_critic, z_generator])
        assert_all_close([y for _, y in calls], [by_moving, by_batch])
        assert (pair.reference.generate(w, z_critic, train=True) - by_moving).abs().max() > 0.1


class TestRates:
    def test_a_narrow_network_s_weights_learn_faster_by_what_their_fan_in_shrank(self):
        """At half the width twice as fast; not those that see latents or colors, and no bias, no norm."""
        config = fixed_config(IWGAN | {"width": 0.5}, loss={"adversarial": "wasserstein", "gradient_penalty": 1})
        shrank = {
            "G": ["layers.0.convolution.weight", "layers.1.convolution.weight", "last.weight"],
            "D": ["layers.1.convolution.weight", "score.weight"],
        }

        take_turns(config, 3, faster=lambda side, name: 2.0 if name in shrank[side] else 1.0)

    def test_and_are_drawn_larger_by_its_root(self):
        """So that activations keep their sizes: 0.1 sqrt(2) where fan-in is halved, 0.1 where it is not."""
        w = doubles(TrainState.fresh(fixed_config(IWGAN | {"width": 0.5, "z_dim": 64}), CPU).G)

        assert float(w["layers.0.convolution.weight"].detach().std()) == pytest.approx(0.1 * 2**0.5, rel=0.1)
        assert float(w["dense.weight"].detach().std()) == pytest.approx(0.1, rel=0.1)


class TestTheAverage:
    def test_stays_float32_while_the_training_is_in_bfloat16(self):
        """It is the float32 mean of the weights, and draws in float32; the generator itself does not."""
        pair = both(growing_config(train__precision="bf16"), images=136)
        before, z = doubles(pair.state.ema), latents(pair.config, "any", 0)

        one_turn(pair.state, pair.config, pair.feed)

        now = doubles(pair.state.G)
        keep = 0.5 ** (8 / (0.05 * 144))
        for name, parameter in pair.state.ema.named_parameters():
            torch.testing.assert_close(parameter.double(), mixed(keep, before[name], now[name]), rtol=1e-6, atol=1e-6)
        assert drawn_apart(pair.state.ema, z) < 1e-4
        assert drawn_apart(pair.state.G, z) > 1e-3

    def test_halves_the_distance_in_a_half_life_of_images(self):
        """Half-life 24 images, three critic steps of 8: one turn brings the average half the way."""
        config = fixed_config(GAME, train__critic_steps={"base": 3}, train__ema_half_life=24, train__ema_ramp=0.0)
        pair = both(config)
        before = doubles(pair.state.ema)

        one_turn(pair.state, config, pair.feed)

        for name, parameter in pair.state.ema.named_parameters():
            torch.testing.assert_close(parameter.double(), (before[name] + doubles(pair.state.G)[name]) / 2)


class TestReals:
    @pytest.mark.parametrize("images", [40, 56, 104])
    def test_whatever_the_critic_sees_in_a_fade_is_faded(self, images):
        """Batches, samples for a tick, and held-out samples: alpha x + (1 - alpha) upscale(downscale(x))."""
        values = pictures(1).repeat(8, 0)
        config = growing_config()
        feed, phase = Feed(dataset_of(values, np.arange(8) < 4), config), phase_of(config, images)

        seen = [feed.batch_at(images, phase), feed.sample(8, phase, images), feed.unseen(8, phase, images)]

        height, alpha = (8, (images - 32) / 32) if images < 64 else (16, (images - 96) / 32)
        x = torch.from_numpy(values).double().movedim(3, 1) / 127.5 - 1
        x = halved(x) if height == 8 else x
        assert (x - doubled(halved(x))).abs().max() > 0.1
        assert_all_close(seen, [mixed(alpha, x, doubled(halved(x)))] * 3)


class TestKnownMutants:
    """Mistakes of one line, each with a test of its own."""

    def test_r2_is_taken_at_the_fakes(self):
        """Without R1, the penalty is half the slope at the fakes, not that at the reals."""
        at_reals, at_fakes, losses = slopes_and_losses({"adversarial": "hinge", "r2": 1.0})

        assert not 2 / 3 < at_reals / at_fakes < 3 / 2
        assert losses["penalty"] == pytest.approx(at_fakes / 2, rel=5e-2)

    def test_the_lazy_counter_counts_every_critic_step(self):
        """Of three steps a turn every second has the penalty, steps 0 and 2, then 4; so each turn logs one."""
        pair = both(growing_config(train__critic_steps={"base": 3}, loss__penalty_interval=2))

        logged = ["penalty" in one_turn(pair.state, pair.config, pair.feed) for _ in range(4)]

        assert logged == [True] * 4

    def test_the_loop_s_average_advances_by_all_critic_steps(self, tmp_path):
        """One turn of three critic steps of 8, a half-life of 24 images: the average ends half the way."""
        steps = {"base": 3}
        config = growing_config(
            train__critic_steps=steps, train__ema_half_life=24, train__ema_ramp=0.0, train__duration=24
        )
        state = fresh(config)
        before = doubles(state.ema)

        whole_run(state, config, pictures(), tmp_path / "run")

        now = doubles(state.G)
        assert (before["dense.weight"] - now["dense.weight"]).abs().max() > 0.1
        for name, parameter in state.ema.named_parameters():
            torch.testing.assert_close(parameter.double(), (before[name] + now[name]) / 2)

    def test_the_generator_s_rate_is_a_multiple_of_the_critic_s(self):
        """At a quarter the rate a first step goes a quarter of the way; the critic's does not change."""
        slow, usual = (
            moves_of_one_turn(growing_config(optimizer__generator_lr_factor=factor)) for factor in (0.25, 1.0)
        )

        torch.testing.assert_close(slow["G"], usual["G"] / 4, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(slow["D"], usual["D"], rtol=0, atol=0)

    def test_overfitting_compares_with_held_out_samples(self):
        """(2 - E D(held-out)) / (2 - -1), every held-out picture the same, none of the training set like it."""
        values = pictures()
        values[:8] = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
        config = growing_config()
        state = fresh(config, images=136)
        feed = Feed(dataset_of(values, np.arange(24) < 8), config)
        exact = Training(config, facts_of(config), state, values)
        exact.at = exact.segment()

        found = share_known(state, feed, config, (2.0, -1.0))

        held_out, trained = (float(exact.judge(exact.seen(side)).mean().detach()) for side in split(values))
        assert abs(held_out - trained) > 0.1
        assert found == pytest.approx((2 - held_out) / 3, rel=1e-3)

    @pytest.mark.parametrize("images", [40, 104])
    def test_held_out_reals_are_faded(self, images):
        """A quarter into a fade, a quarter of what is finer than the old stage is left of a held-out picture."""
        side = 2 if images == 40 else 1  # of a check in pixels; it is 1 at the stage's own size
        checks = (np.indices((16, 16)) // side).sum(0) % 2 * 255
        values = np.broadcast_to(checks[:, :, None], (8, 16, 16, 3)).astype(np.uint8)
        config = growing_config()

        x = Feed(dataset_of(values, np.arange(8) < 4), config).unseen(4, phase_of(config, images), images)

        torch.testing.assert_close(x.abs(), torch.full_like(x, 0.25), rtol=0, atol=1e-5)

    def test_the_average_computes_in_float32_in_bf16_training(self):
        """Its pictures are exact to 1e-4; those of the generator, in bfloat16, only to 1e-3 or worse."""
        config = growing_config(train__precision="bf16")
        state, z = fresh(config), latents(config, "any", 0)

        assert drawn_apart(state.ema, z) < 1e-4
        assert drawn_apart(state.G, z) > 1e-3

    def test_the_first_layer_s_gain_is_a_quarter_of_the_others(self):
        """sqrt(2) / 4 / sqrt(fan-in), where no pixel norm hides it; written out for a fresh generator at 4 px."""
        config = growing_config(network__pixel_norm=False, network__normalize_z=False)
        G, z = TrainState.fresh(config, CPU).G, latents(config, "any", 0)

        drawn = G(z.float(), 0, 1.0)

        w = doubles(G)
        h = leaky(z @ w["dense.weight"].T * (2**0.5 / 4) / 8**0.5).view(8, 8, 4, 4)
        h = leaky(conv2d(h, w["first.weight"] * 2**0.5 / 72**0.5, padding=1))
        torch.testing.assert_close(drawn.double(), conv2d(h, w["to_rgb.0.weight"] / 8**0.5), rtol=1e-4, atol=1e-5)

    def test_judged_pictures_are_in_whole_gray_levels(self):
        """The nearest of 256, and never outside [-1, 1]."""
        x = 2.2 * torch.rand(4, 3, 8, 8, generator=stream(0, "any", 0)) - 1.1

        judged = (prepared(x, "image").double() + 1) * 127.5

        nearest = np.rint(np.clip((x.double().numpy() + 1) * 127.5, 0, 255))
        np.testing.assert_allclose(judged.numpy(), nearest, atol=1e-3)

    def test_critic_fakes_eval_leaves_the_moving_statistics_to_the_generator_s_step(self):
        """Ten critic steps and one of the generator's: they are told of one batch."""
        pair = both(fixed_config(MLP, train__critic_fakes="eval", train__critic_steps={"base": 10}))

        one_turn(pair.state, pair.config, pair.feed)

        assert pair.state.G.hidden[0].norm.num_batches_tracked == 1

    def test_a_run_without_last_pt_goes_on_from_its_newest_checkpoint(self, tmp_path):
        """And from the one before it where that is damaged."""
        config, run = growing_config(), Run(tmp_path)
        files = [run.path / f"checkpoints/{images:09d}.pt" for images in (8, 64, 136)]
        for file, images in zip(files, (8, 64, 136), strict=True):
            checkpoint.write(file, fresh(config, images=images).as_checkpoint(config))

        newest = opened_at(run, config)
        files[-1].write_bytes(b"PK")

        assert (newest, opened_at(run, config)) == (136, 64)

    def test_pictures_are_flipped_anew_at_every_position(self):
        """By a stream of the images shown: the same eight pictures, flipped in another way each time."""
        values = pictures(8)
        plain, mirrored = (Feed(dataset_of(values), growing_config(data__mirror=flag)) for flag in (False, True))
        phase, positions = phase_of(growing_config(), 136), range(0, 64, 8)
        ways = []

        for images in positions:
            pairs = zip(plain.batch_at(images, phase), mirrored.batch_at(images, phase), strict=True)
            ways.append([bool(torch.equal(a.flip(2), b)) for a, b in pairs])

        assert ways == [(torch.rand(8, generator=stream(0, "mirror", at)) < 0.5).tolist() for at in positions]
        assert len({tuple(way) for way in ways}) > 4
