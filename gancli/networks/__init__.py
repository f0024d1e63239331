"""Generators and critics as plain modules, independent of losses and schedules."""

from gancli.networks.base import Critic, Generator
from gancli.networks.build import Pair, build, build_generator, learning_rates, on_meta, set_precision

__all__ = ["Critic", "Generator", "Pair", "build", "build_generator", "learning_rates", "on_meta", "set_precision"]
