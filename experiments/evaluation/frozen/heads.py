"""Linear heads on fixed features: logistic regression, ridge regression, and a mix of layers.

Axes: n rows, L layers, F features. A head minimises: mean loss + λ/2 x its squared weights, λ being its
penalty. The loss is cross-entropy or half the squared error. So one grid serves every kind and number of
examples.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

PENALTIES = (1.0, 0.1, 0.01, 0.001)  # the strongest first
STEPS = 100  # of L-BFGS at most


@dataclass(frozen=True, eq=False)
class Head:
    """A fitted head.

    answer: features (n,F), for a mix (n,L,F) -> classes or numbers (n). weights, scale: what a mix of layers
    learned.
    """

    penalty: float
    answer: Callable[[Tensor], np.ndarray]
    weights: Sequence[float] = ()
    scale: float = 1.0


def heads(features: Tensor, labels: np.ndarray, classes: int | None) -> Iterator[Head]:
    """Yields a head for each penalty, on standardised features; features with an axis of layers are mixed."""
    fit = linear if features.dim() == 2 else mixed
    yield from fit(features, labels, classes)


def linear(features: Tensor, labels: np.ndarray, classes: int | None) -> Iterator[Head]:
    """Logistic regression, or ridge regression for numbers, by scikit-learn."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    x, n = scaler.fit_transform(features.double().numpy()), len(features)
    # Each fit starts from the solution of the one before, so it needs few steps.
    model = Ridge() if classes is None else LogisticRegression(max_iter=1000, warm_start=True)
    for penalty in PENALTIES:
        model.set_params(**({"alpha": penalty * n} if classes is None else {"C": 1 / (penalty * n)}))
        fitted = copy.deepcopy(model.fit(x, labels))

        def answer(queries: Tensor, fitted: Ridge | LogisticRegression = fitted) -> np.ndarray:
            return np.asarray(fitted.predict(scaler.transform(queries.double().numpy())))

        yield Head(penalty, answer)


class Mix(nn.Module):
    """A linear head on scale x sum of softmax(weights) x layers (Peters et al. 2018): (n,L,F) -> (n,C)."""

    def __init__(self, layers: int, features: int, answers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.scale = nn.Parameter(torch.ones(()))
        self.head = nn.Linear(features, answers)
        nn.init.zeros_(self.head.weight)  # no random start: the same features give the same head
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.scale * torch.einsum("nlf,l->nf", features, self.weights.softmax(0)))

    def squared(self) -> Tensor:
        """The squared weights that the penalty multiplies: all but the bias.

        It draws the mix towards an even one.
        """
        held = (self.head.weight, self.scale, self.weights)
        return torch.stack([each.square().sum() for each in held]).sum()


def mixed(features: Tensor, labels: np.ndarray, classes: int | None) -> Iterator[Head]:
    """Fits mix and head together, by full-batch L-BFGS; each layer's features are standardised."""
    from sklearn.preprocessing import StandardScaler

    scaler, (_, layers, width) = StandardScaler(), features.shape
    x = torch.from_numpy(scaler.fit_transform(features.flatten(1).numpy())).view_as(features)
    middle, spread, targets = 0.0, 1.0, torch.from_numpy(labels)
    if classes is None:  # so that a penalty means the same in any unit of the numbers
        middle, spread = float(labels.mean()), float(labels.std()) or 1.0
        targets = ((targets - middle) / spread).float()
    for penalty in PENALTIES:
        mix = Mix(layers, width, classes or 1)
        _minimise(mix, x, targets, penalty)

        @torch.no_grad()
        def answer(queries: Tensor, mix: Mix = mix) -> np.ndarray:
            standard = torch.from_numpy(scaler.transform(queries.flatten(1).numpy())).view_as(queries)
            outputs = mix(standard)
            numbers = outputs.squeeze(1) * spread + middle if classes is None else outputs.argmax(1)
            return numbers.numpy()

        yield Head(penalty, answer, mix.weights.softmax(0).tolist(), mix.scale.item())


def _minimise(mix: Mix, features: Tensor, labels: Tensor, penalty: float) -> None:
    optimiser = torch.optim.LBFGS(mix.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        outputs = mix(features)
        if labels.is_floating_point():
            loss = functional.mse_loss(outputs.squeeze(1), labels) / 2
        else:
            loss = functional.cross_entropy(outputs, labels)
        loss = loss + penalty / 2 * mix.squared()
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[arg-type]
