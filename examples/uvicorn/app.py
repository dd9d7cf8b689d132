"""An ASGI application that logs every request: `uvicorn --workers 4 --log-config log.json app:app`."""

import logging

log = logging.getLogger("shop")


async def app(scope, receive, send):
    assert scope["type"] == "http"
    log.info("%s %s", scope["method"], scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"shipped\n"})
