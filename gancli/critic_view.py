"""The critic as used by the losses: the only code between samples and their scores.

Anything that is applied to all samples before scoring belongs here: reals and fakes alike, in the critic step and in
the generator step.
"""

from dataclasses import dataclass

from torch import Tensor

from gancli.augment import Augment
from gancli.growth import Phase
from gancli.networks import Critic
from gancli.networks.layers import interleave, undo_interleave


@dataclass(frozen=True)
class CriticView:
    """A critic at one phase of growth, which sees samples augmented if `augment` is there."""

    D: Critic
    phase: Phase
    augment: Augment | None = None

    def scores(self, x: Tensor) -> Tensor:
        """D(x). (N, C, *S) -> (N,)."""
        return self.D.scores(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Features before minibatch std. (N, C, *S) -> (N, F, *S')."""
        return self.D.features(x if self.augment is None else self.augment(x), self.phase.stage, self.phase.alpha)

    def scores_of(self, features: Tensor) -> Tensor:
        """Scores from the features of a batch. (N, F, *S') -> (N,)."""
        return self.D.scores(features)

    def both(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(D(x), D(y)), in one forward pass if minibatch-std groups are not mixed. Equal N -> (N,), (N,)."""
        group = self.D.group_of(len(x))
        if group is None:
            return self.scores(x), self.scores(y)
        return undo_interleave(self.scores(interleave(x, y, group)), group)
