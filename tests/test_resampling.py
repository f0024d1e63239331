"""Interpolation against sums written out by hand."""

import math

import numpy as np
import pytest
import torch

from gancli.resampling import interpolate


def by_hand(x, grid):
    """Bilinear values of (C, H, W) at (x, y) in [-1, 1], edges repeated."""
    channels, height, width = x.shape
    out = np.zeros((channels, *grid.shape[:2]))
    for i, j in np.ndindex(*grid.shape[:2]):
        across = min(max(((grid[i, j, 0] + 1) * width - 1) / 2, 0), width - 1)
        down = min(max(((grid[i, j, 1] + 1) * height - 1) / 2, 0), height - 1)
        left, top = math.floor(across), math.floor(down)
        for row, share in ((top, 1 - (down - top)), (min(top + 1, height - 1), down - top)):
            for column, part in ((left, 1 - (across - left)), (min(left + 1, width - 1), across - left)):
                out[:, i, j] += share * part * x[:, row, column]
    return out


@pytest.fixture
def images():
    return torch.rand(2, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def grid():
    return torch.rand(2, 3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2.6 - 1.3


def test_images(images, grid):
    """Bilinear between pixels, constant beyond the edges."""
    found = interpolate(images, grid)
    for x, places, y in zip(images, grid, found, strict=True):
        np.testing.assert_allclose(y, by_hand(x.numpy(), places.numpy()), atol=1e-12)


def test_signals(grid):
    """Linear between values."""
    x, places = torch.rand(1, 2, 9, dtype=torch.float64), grid[:1, :1].clone()
    places[..., 1] = 0
    found = interpolate(x, places)[0]
    np.testing.assert_allclose(found, by_hand(x[0, :, None].numpy(), places[0].numpy())[:, 0], atol=1e-12)


def test_both_derivatives(images, grid):
    """Against finite differences. torch's own function has no second derivative."""
    images.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: interpolate(x, grid).square(), images)
    assert torch.autograd.gradgradcheck(lambda x: interpolate(x, grid).square(), images)
