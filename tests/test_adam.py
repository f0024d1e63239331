"""Adam: torch's own, without the import of its compiler."""

import subprocess
import sys

import pytest
import torch

from gancli.training.adam import Adam

TRAINING = """
import sys, gancli
gancli.train({preset!r}, {pictures!r}, changes={{"train.duration": 16}}, outdir={outdir!r}, threads=1)
print("torch._dynamo" in sys.modules)
"""


def stepped(kind, fused):
    """Parameters after five steps, of which one has no gradient for one parameter, with a rate that changes."""
    draws = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(size, generator=draws)) for size in (3, 50)]
    optimizer = kind([{"params": [p], "factor": 1.0} for p in parameters], lr=0.1, betas=(0.0, 0.99), fused=fused)
    for step in range(5):
        optimizer.zero_grad()
        for p in parameters[step == 3 :]:
            p.grad = torch.randn(p.shape, generator=draws)
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (step + 1)
        optimizer.step()
    return parameters


@pytest.mark.parametrize("fused", [True, False])
def test_computes_what_torch_s_computes(fused):
    """Bit for bit; autograd does not follow the step, which only the unfused one would notice."""
    ours, theirs = stepped(Adam, fused), stepped(torch.optim.Adam, fused)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert all(p.is_leaf and p.requires_grad for p in ours)


def test_a_training_does_not_import_the_compiler(tiny, pictures, tmp_path):
    """It takes about as long as the import of torch, and nothing is compiled."""
    code = TRAINING.format(preset=tiny, pictures=str(pictures), outdir=str(tmp_path / "runs"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
