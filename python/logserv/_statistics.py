"""The numbers of a handler's session, as `stats()` gives them; the same keys from every handler of the package."""

from typing import TypedDict

__all__ = ["Statistics"]


class Statistics(TypedDict):
    """The numbers of a session; see a handler's `stats()`."""

    emitted: int
    announced: int
    written: int
    dropped: int
    dropped_by_reason: dict[str, int]
    pending_records: int
    pending_bytes: int
    connected: bool
    protocol: str | None
    connections: int
    refusals: int
    ring_bytes: int | None
    records_cut: int
    records_rendered: int
