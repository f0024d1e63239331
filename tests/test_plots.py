import numpy as np
import torch

from gancli import plots


def test_pictures_are_drawn_as_they_are():
    """[-1, 1] to 0..255."""
    x = torch.tensor([-1.0, 0, 1]).view(1, 1, 1, 3)
    assert plots.pictures(x, "image").ravel().tolist() == [0, 128, 255]


def test_a_signal_is_a_line_a_channel():
    """High values stand high; each channel has its own ink."""
    low, high = (plots.lines(np.full((1, 50), value, np.float32)) for value in (-0.8, 0.8))
    inked = [np.argwhere((picture < 200).any(2))[:, 0].mean() for picture in (low, high)]
    assert inked[1] < plots.LINES[0] / 2 < inked[0]
    two = plots.lines(np.stack([np.full(50, -0.5), np.full(50, 0.5)]).astype(np.float32))
    assert len({tuple(two[row, 60]) for row in (24, 25, 26, 27, 70, 69, 71)}) > 2


def test_points_stand_where_they_are():
    """(0.5, 0.5) lies to the right and above the middle."""
    picture = plots.scatter(np.array([[0.5, 0.5]], np.float32))
    down, across = np.argwhere((picture < 100).any(2)).mean(0)
    assert down < plots.DOTS[0] / 2 < across


def test_what_is_not_finite_or_far_away_still_makes_a_picture():
    """A diverged generator is looked at too."""
    odd = torch.tensor([[float("nan"), float("inf")], [1e30, -1e30]])
    assert plots.sheet(odd, "points").shape == (*plots.DOTS, 3)
    assert plots.pictures(odd[None].expand(2, -1, -1), "signal").shape == (2, *plots.LINES, 3)


def test_points_of_one_dimension_lie_on_a_line():
    """The second value is zero."""
    assert plots.sheet(torch.zeros(4, 1), "points").shape == (*plots.DOTS, 3)
