"""Networks: plain modules that know neither loss nor clock."""

from gancli.networks.build import Pair, build, build_generator, on_meta, set_precision

__all__ = ["Pair", "build", "build_generator", "on_meta", "set_precision"]
