import numpy as np
import torch

from gancli import plots


def test_pictures_are_drawn_as_they_are():
    """[-1, 1] to 0..255."""
    x = torch.tensor([-1.0, 0, 1]).view(1, 1, 1, 3)
    assert plots.pictures(x, "image").ravel().tolist() == [0, 128, 255]


def test_a_signal_is_a_line_a_channel():
    """Higher values are higher; each channel has its own color."""
    low, high = (plots.lines(np.full((1, 50), value, np.float32)) for value in (-0.8, 0.8))
    inked = [np.argwhere((picture < 200).any(2))[:, 0].mean() for picture in (low, high)]
    assert inked[1] < plots.LINES[0] / 2 < inked[0]
    two = plots.lines(np.stack([np.full(50, -0.5), np.full(50, 0.5)]).astype(np.float32))
    assert len({tuple(two[row, 60]) for row in (24, 25, 26, 27, 70, 69, 71)}) > 2


def test_points_are_at_their_coordinates():
    """(0.5, 0.5) is to the right of and above the center."""
    picture = plots.scatter(np.array([[0.5, 0.5]], np.float32))
    down, across = np.argwhere((picture < 100).any(2)).mean(0)
    assert down < plots.DOTS[0] / 2 < across


def test_values_that_are_not_finite_or_large_can_be_plotted():
    """Samples of a diverged generator can be plotted."""
    odd = torch.tensor([[float("nan"), float("inf")], [1e30, -1e30]])
    assert plots.sheet(odd, "points").shape == (*plots.DOTS, 3)
    assert plots.pictures(odd[None].expand(2, -1, -1), "signal").shape == (2, *plots.LINES, 3)


def test_points_of_one_dimension_lie_on_a_line():
    """The second coordinate is 0."""
    assert plots.sheet(torch.zeros(4, 1), "points").shape == (*plots.DOTS, 3)
