"""The exceptions of the package; their names and attributes are those of 2013."""

__all__ = ["LogServerError", "ProtocolError", "VersionMismatchError"]


class LogServerError(Exception):
    """Anything that goes wrong between a handler and its server, or with starting a server."""


class ProtocolError(LogServerError):
    """The other side did not say what was expected, or the server refused a request.

    Attributes:
        expected: What would have been accepted, in words.
        actual: What was received, in words.
    """

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"EXPECTED {expected}, received {actual}")
        self.expected = expected
        self.actual = actual

    def __reduce__(self) -> tuple[type["ProtocolError"], tuple[str, str]]:
        return type(self), (self.expected, self.actual)


class VersionMismatchError(LogServerError):
    """The two sides have no version of the protocol in common."""
