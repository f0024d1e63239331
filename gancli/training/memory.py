"""Too little memory for a step: find the largest batch that fits, and tell the user."""

import gc

import torch

from gancli import signals
from gancli.config import ResolvedConfig, combinations
from gancli.data import Feed
from gancli.errors import OutOfMemory, is_out_of_memory
from gancli.growth import Phase
from gancli.results import printable
from gancli.runs import Run
from gancli.training.state import TrainState
from gancli.training.step import train_critic, train_generator


def too_little(state: TrainState, config: ResolvedConfig, feed: Feed, phase: Phase, run: Run) -> OutOfMemory:
    """The error for a step that did not fit. The state is used for trials: it must not be saved afterwards."""
    kimg = state.images / 1000  # before the trials
    if state.workers.count > 1:  # a trial would wait for the others
        hint = "use more --processes, each on its own GPU or machine, or train a new run with a smaller --batch"
    elif largest := largest_batch(state, config, feed, phase):
        one_size = len(config.sizes) == 1 or not config.growth.at
        change = f"--batch {largest}" if one_size else f"--set growth.at.{phase.height}.batch_size={largest}"
        hint = f"a batch of {largest} fits: train a new run with {change}"
    else:
        hint = "not even the smallest batch fits: use a lower --resolution, or fewer network.channels"
    return OutOfMemory(
        f"not enough memory for a batch of {phase.batch_size} at {phase.height} px",
        where=f"training at {kimg:g} kimg; the checkpoint before is {printable(str(run.last))}",
        hint=hint,
    )


def largest_batch(state: TrainState, config: ResolvedConfig, feed: Feed, phase: Phase) -> int:
    """The largest batch size of which a step fits into memory, by bisection; 0 if none does."""
    pack = config.network.pack * config.shards
    smallest = combinations.smallest_batch(config) // config.network.pack  # in packs, as the others
    low, high = smallest - 1, phase.batch_size // pack  # low fits, or is too small; high does not fit
    while high - low > 1:
        signals.poll()
        middle = (low + high) // 2
        if fits(state, config, feed, phase.with_batch(middle * pack)):
            low = middle
        else:
            high = middle
    return low * pack if low >= smallest else 0


def fits(state: TrainState, config: ResolvedConfig, feed: Feed, phase: Phase) -> bool:
    """Whether a whole step fits. It changes the weights."""
    release(state)
    try:
        _, inputs = train_critic(state, config, feed, phase, state.images)
        if inputs is not None:
            train_generator(state, config, phase, inputs)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def release(state: TrainState) -> None:
    """Free the gradients, and what an exception has left behind."""
    for network in (state.G, state.D):
        network.zero_grad(set_to_none=True)
        network.requires_grad_(True)
    gc.collect()
    if state.device.type == "cuda":
        torch.cuda.empty_cache()
