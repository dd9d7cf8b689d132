"""The account of records that were dropped for want of space, and the text that tells of them in the file.

In: drops, as they happen. Out: their number; at most once a second a message. Its words are those of `logserv-client`.
For `_pure.py`; where the extension loads, `crates/logserv-client/src/drops.rs` does this.
"""

import time

ANNOUNCE_EVERY_S = 1.0


class Drops:
    """What has been dropped, and what of it has been told."""

    def __init__(self) -> None:
        self.total = 0
        self._untold = 0
        self._first_s = self._last_s = 0.0
        self._told_at_s = -ANNOUNCE_EVERY_S

    def count(self) -> None:
        """One more."""
        self._last_s = time.time()
        if self._untold == 0:
            self._first_s = self._last_s
        self.total += 1
        self._untold += 1

    def message(self) -> str | None:
        """What there is to tell, if it is time to; it counts as told."""
        now_s = time.monotonic()
        if self._untold == 0 or now_s - self._told_at_s < ANNOUNCE_EVERY_S:
            return None
        untold, self._untold, self._told_at_s = self._untold, 0, now_s
        return f"dropped {untold} records (queue full) between {_iso_8601(self._first_s)} and {_iso_8601(self._last_s)}"


def _iso_8601(seconds: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03}Z"
