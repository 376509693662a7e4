"""What masking found, in a form that may be recorded, logged and shown."""

from typing import Literal

import msgspec

Detector = Literal["pan", "track", "cvv", "pin_block", "pin", "secret", "own_mask"]
Action = Literal["masked", "removed", "redacted", "found"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing found in one leaf. Never holds a value, not even in part: kind, what was done, and where.

    `pointer`: RFC 6901 pointer of the leaf, relative to the root of the document; of the enclosing object where an object
    key itself holds the finding; of the outermost string where the leaf lies in JSON inside a string; "" for bare text. A
    segment that holds something to mask stands masked in it. `action` "found": only looked at, nothing was changed.
    """

    detector: Detector
    action: Action
    pointer: str
