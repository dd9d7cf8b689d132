"""A WSGI application that logs every request: `gunicorn -c config.py app:app`."""

import logging

log = logging.getLogger("shop")
log.info("loaded")  # with --preload by the master, else by each worker


def app(environ, start_response):
    log.info("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"shipped\n"]
