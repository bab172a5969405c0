"""Where the mean IoU is lost: by class, and by picture."""

import numpy as np

from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.scores import Areas, Floats, areas_of, picture_mean_iou


def lost_by_class(evaluation: Evaluation) -> Floats:
    """(K,) what each class takes from a mean IoU of 1, 0..1; they add up to 1 - mIoU. NaN for absent classes."""
    iou = evaluation.class_iou
    lost: Floats = (1 - iou) / (~np.isnan(iou)).sum()
    return lost


def lost_by_picture(evaluation: Evaluation) -> Floats:
    """(N,) how much the mean IoU of the set would rise if this picture alone were predicted without a fault.

    A class that occurs nowhere but in this picture's faults counts as an IoU of 0 before and is left out of the mean
    then, so the rise may be large.
    """
    total = areas_of(evaluation.counts)
    hits, truth, predicted = np.moveaxis(evaluation.areas, 1, 0)
    mended = Areas(total.intersection - hits + truth, np.broadcast_to(total.truth, truth.shape),
                   total.prediction - predicted + truth)  # fmt: skip
    return picture_mean_iou(mended) - evaluation.miou
