"""The absence of a value, where None is a value."""

import enum
from typing import Final


class Unset(enum.Enum):
    """The type of UNSET, which is its only value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
"""What a field holds that nothing was said about; None says that there is to be nothing.

On the wire it is the field that is left out, and None is null.
"""
