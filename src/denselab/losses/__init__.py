"""Losses: functions of (logits, labels) -> scalar, by name or directly; class weights."""

from denselab.config import LossTerm
from denselab.config.settings import WeightScheme
from denselab.losses.class_weights import ClassWeights, class_weights
from denselab.losses.pixels import cross_entropy, focal, ohem
from denselab.losses.regions import dice, jaccard, lovasz, tversky
from denselab.losses.terms import AUXILIARY_WEIGHT, LOSSES, Loss, LossKind, create_loss, loss_with_auxiliary

__all__ = [
    "AUXILIARY_WEIGHT",
    "LOSSES",
    "ClassWeights",
    "Loss",
    "LossKind",
    "LossTerm",
    "WeightScheme",
    "class_weights",
    "create_loss",
    "cross_entropy",
    "dice",
    "focal",
    "jaccard",
    "loss_with_auxiliary",
    "lovasz",
    "ohem",
    "tversky",
]
