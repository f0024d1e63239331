import gc
import weakref

import torch

from gancli.stats.remembered import remembered


def counted():
    """A remembered function and the list of its calls."""
    calls = []

    @remembered
    def function(x, y, power=1):
        calls.append(power)
        return float((x - y).pow(power).sum())

    return function, calls


def test_a_result_is_computed_once():
    """For the same tensors and the same other arguments."""
    function, calls = counted()
    x, y = torch.ones(3), torch.zeros(3)

    assert [function(x, y), function(x, y), function(y, x), function(x, y, power=2), function(x, y, 2)] == [
        3,
        3,
        -3,
        3,
        3,
    ]
    assert calls == [1, 1, 2, 2]


def test_equal_tensors_are_not_the_same():
    """Comparing their values would cost more than many a result."""
    function, calls = counted()
    x, y = torch.ones(3), torch.zeros(3)

    function(x, y), function(x.clone(), y), function(x, y.clone())

    assert len(calls) == 3


def test_a_changed_tensor_is_computed_again():
    """Also if it is the second one."""
    function, _ = counted()
    x, y = torch.ones(3), torch.zeros(3)

    before = function(x, y)
    y.add_(1)

    assert (before, function(x, y)) == (3, 0)


def test_nothing_keeps_a_tensor_alive():
    """Nor its results."""
    kept = []

    @remembered
    def double(x):
        kept.append(weakref.ref(result := 2 * x))
        return result

    x = torch.ones(3)
    double(x)
    del x
    gc.collect()

    assert kept[0]() is None


def test_inference_tensors_are_taken():
    """They count no versions."""
    function, calls = counted()
    with torch.inference_mode():
        x, y = torch.ones(3), torch.zeros(3)

    assert function(x, y) == function(x, y) == 3
    assert len(calls) == 1
