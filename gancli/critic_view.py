"""The critic as the losses see it: the one place between samples and their scores.

Whatever is done to every sample before it is judged, reals and fakes alike, in both players' steps, belongs here.
"""

from dataclasses import dataclass

from torch import Tensor

from gancli.growth import Phase
from gancli.networks import Critic
from gancli.networks.layers import interleave, undo_interleave


@dataclass(frozen=True)
class CriticView:
    """A critic at one phase of its growth."""

    D: Critic
    phase: Phase

    def scores(self, x: Tensor) -> Tensor:
        """D(x). (N, C, *S) -> (N,)."""
        return self.D.scores(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """What the minibatch-std layer sees. (N, C, *S) -> (N, F, *S')."""
        return self.D.features(x, self.phase.stage, self.phase.alpha)

    def scores_of(self, features: Tensor) -> Tensor:
        """From the features of a batch to its scores. (N, F, *S') -> (N,)."""
        return self.D.scores(features)

    def both(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(D(x), D(y)): in one call where the groups of minibatch std stay unmixed. Equal N -> (N,), (N,)."""
        group = self.D.group_of(len(x))
        if group is None:
            return self.scores(x), self.scores(y)
        return undo_interleave(self.scores(interleave(x, y, group)), group)
