"""Exact counts over a set of pictures, and the scores that follow from them."""

from denselab.evaluation.bootstrap import Interval
from denselab.evaluation.confusion import add_confusion, confusion_matrix
from denselab.evaluation.evaluation import Evaluation, count_pictures
from denselab.evaluation.tables import console_table, csv_rows, evaluation_json, json_document

__all__ = [
    "Evaluation",
    "Interval",
    "add_confusion",
    "confusion_matrix",
    "console_table",
    "count_pictures",
    "csv_rows",
    "evaluation_json",
    "json_document",
]
