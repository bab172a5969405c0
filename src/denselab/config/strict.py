"""The base of records read by pydantic from what a user wrote: no truth value stands for a number.

pydantic reads True as 1, so that `batch: yes` was a batch of one picture.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidatorFunctionWrapHandler, field_validator


class Strict(BaseModel):
    """A record whose numbers are none of True and False, also inside lists and records."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _keep_truth_values(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        found = handler(value)
        if _counted(value, found):
            raise ValueError("true and false are no numbers; give a number")
        return found


def _counted(value: object, found: object) -> bool:
    """Whether a truth value became a number."""
    if isinstance(value, list | tuple) and isinstance(found, list | tuple) and len(value) == len(found):
        return any(map(_counted, value, found))
    if isinstance(value, Mapping):
        parts = found if isinstance(found, Mapping) else getattr(found, "__dict__", {})
        return any(_counted(part, parts[key]) for key, part in value.items() if key in parts)
    return isinstance(value, bool) and isinstance(found, int | float) and not isinstance(found, bool)
