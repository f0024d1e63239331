"""The critic as used by the losses: the only code between samples and their scores.

Anything that is applied to all samples before scoring belongs here: reals and fakes alike, in the critic step and in
the generator step.
"""

from dataclasses import dataclass

from torch import Tensor

from gancli.augment import Augment
from gancli.growth import Phase
from gancli.networks import Critic
from gancli.networks.minibatch import interleave, packed, undo_interleave


@dataclass(frozen=True)
class CriticView:
    """A critic at one phase of growth, which sees samples augmented if `augment` is there, and packs of D.pack samples.

    M: number of scores, N / D.pack. (Projected networks give several scores per sample.)
    """

    D: Critic
    phase: Phase
    augment: Augment | None = None

    def scores(self, x: Tensor) -> Tensor:
        """D(x). (N, C, *S) -> (M,)."""
        return self.D.scores(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Features before minibatch std. (N, C, *S) -> (M, F, *S')."""
        x = x if self.augment is None else self.augment(x)
        return self.D.features(packed(x, self.D.pack), self.phase.stage, self.phase.alpha)

    def scores_of(self, features: Tensor) -> Tensor:
        """Scores from the features of a batch. (M, F, *S') -> (M,)."""
        return self.D.scores(features)

    def both(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(D(x), D(y)), in one forward pass if minibatch-std groups are not mixed. Equal N -> (M,), (M,)."""
        group = self.D.group_of(len(x) // self.D.pack)
        if group is None:
            return self.scores(x), self.scores(y)
        return undo_interleave(self.scores(interleave(x, y, group)), group)
