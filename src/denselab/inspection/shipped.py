"""The small trained model that comes with this package, so that a network can be looked into without any training.

`make shipped-model` trains it anew: docs/shipped_model.py says how. Its weights are stored as float16, to stay small.
"""

from pathlib import Path

SHIPPED = Path(__file__).parent / "scenes_model"  # a model folder
