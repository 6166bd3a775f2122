"""Small networks, as a user's own file defines them; the tests give this file to the packer too."""

from __future__ import annotations

import torch
from torch import nn


class Net(nn.Module):
    """Three columns to two numbers, through layers that behave otherwise in training."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
        self.outer = nn.Linear(8, 2)

    def forward(self, x):
        return self.outer(self.inner(x))


class Branching(nn.Module):
    """Asks the values of its input which way to go, which no exporter can write down."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        parts = [self.layer(row) * 2 if float(row.sum()) > 0 else self.layer(row) for row in x]
        return torch.stack(parts)


class Scripted(nn.Module):
    """As :class:`Branching`, so that TorchScript can write it down."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        if bool(x[0].sum() > 1e9):
            return self.layer(x) * 2
        return self.layer(x)


class Two(nn.Module):
    """Two inputs by name and two outputs by name."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 4)
        self.layer = nn.Linear(5, 2)

    def forward(self, tokens, weight, scale=None):
        mean = self.words(tokens).mean(dim=1)
        both = torch.cat([mean, weight], dim=1)
        return {"probabilities": torch.softmax(self.layer(both), dim=1), "mean": mean}


class Words(nn.Module):
    """A number for each token, however many there are."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 4)

    def forward(self, tokens):
        return self.words(tokens).sum(dim=2)


def build():
    return Net()


def seeded(kind):
    torch.manual_seed(7)
    return kind()
