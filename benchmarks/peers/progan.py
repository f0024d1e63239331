"""An adapter for pro_gan_pytorch 3.4, a progressive GAN with the same network and loss.

    python benchmarks/speed.py W2 --peer benchmarks/peers/progan.py

Its folder `pro_gan_pytorch` must be on PYTHONPATH. Steps are its own `optimize_discriminator`, `optimize_generator` and
`update_average`. Changed, because it does not run on today's torch otherwise: TensorBoard and torchvision, which a step
does not use, are left out; a transposed convolution has no output padding. The widths are those of the workload.
"""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any
from unittest.mock import MagicMock

import torch

for name in ("torch.utils.tensorboard", "torchvision", "torchvision.transforms", "torchvision.utils"):
    sys.modules.setdefault(name, MagicMock())

from pro_gan_pytorch import custom_layers, gan, losses, networks  # noqa: E402

custom_layers.EqualizedConvTranspose2d._output_padding = lambda *args: (0, 0)


def networks_of(workload: dict[str, Any]) -> tuple[Any, Any]:
    """Generator and critic of the workload's resolution and widths."""
    channels = workload["channels"]
    networks.nf = lambda stage: channels[min(stage, len(channels)) - 1]
    depth = workload["resolution"].bit_length() - 1
    return networks.Generator(depth, 3, workload["z_dim"]), networks.Discriminator(depth, 3, channels[0])


def step_of(workload: dict[str, Any]) -> Callable[[], None]:
    """One training step: critic, generator, average."""
    with redirect_stdout(None):  # it prints its networks
        trained = gan.ProGAN(*networks_of(workload))
    depth, loss = trained.depth, losses.WganGP()
    critic_adam = torch.optim.Adam(trained.dis.parameters(), lr=0.001, betas=(0.0, 0.99))
    generator_adam = torch.optim.Adam(trained.gen.parameters(), lr=0.001, betas=(0.0, 0.99))
    reals = torch.rand(workload["batch"], 3, workload["resolution"], workload["resolution"]) * 2 - 1

    def step() -> None:
        z = torch.randn(workload["batch"], workload["z_dim"])
        trained.optimize_discriminator(loss, critic_adam, z, reals, depth, 1.0)
        trained.optimize_generator(loss, generator_adam, z, reals, depth, 1.0)
        custom_layers.update_average(trained.gen_shadow, trained.gen, beta=0.999)

    return step


def sampler_of(workload: dict[str, Any]) -> Callable[[], None]:
    """One batch of samples."""
    generator, depth = networks_of(workload)[0].eval(), workload["resolution"].bit_length() - 1
    z = torch.randn(workload["batch"], workload["z_dim"])

    def sample() -> None:
        with torch.no_grad():
            generator(z, depth, 1.0)

    return sample
