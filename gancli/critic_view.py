"""The critic as used by the losses: the only code between samples and their scores.

Anything that is applied to all samples before scoring, such as augmentation, belongs here: reals and fakes alike, in
the critic step and in the generator step.
"""

from dataclasses import dataclass

from torch import Tensor

from gancli.growth import Phase
from gancli.networks import Critic
from gancli.networks.layers import interleave, undo_interleave


@dataclass(frozen=True)
class CriticView:
    """A critic at one phase of growth."""

    D: Critic
    phase: Phase

    def scores(self, x: Tensor) -> Tensor:
        """D(x). (N, C, *S) -> (N,)."""
        return self.D.scores(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Features before minibatch std. (N, C, *S) -> (N, F, *S')."""
        return self.D.features(x, self.phase.stage, self.phase.alpha)

    def scores_of(self, features: Tensor) -> Tensor:
        """Scores from the features of a batch. (N, F, *S') -> (N,)."""
        return self.D.scores(features)

    def both(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(D(x), D(y)), in one forward pass if minibatch-std groups are not mixed. Equal N -> (N,), (N,)."""
        group = self.D.group_of(len(x))
        if group is None:
            return self.scores(x), self.scores(y)
        return undo_interleave(self.scores(interleave(x, y, group)), group)
