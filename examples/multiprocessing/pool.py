"""A pool of four processes that log into one rotating file: `python pool.py fork|spawn|forkserver < orders.txt`."""

import logging.config
import multiprocessing
import sys

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}},
    "handlers": {
        "file": {
            "class": "logserv.handlers.RotatingFileHandler",  # the one changed line
            "filename": "app.log",
            "maxBytes": 100_000,
            "backupCount": 20,
            "formatter": "line",
        }
    },
    "root": {"level": "INFO", "handlers": ["file"]},
}

logging.config.dictConfig(LOGGING)  # at import: spawned children import this module again
log = logging.getLogger("shop")


def ship(order):
    log.info("shipped %s", order)


if __name__ == "__main__":
    log.info("started")
    context = multiprocessing.get_context(sys.argv[1])
    begin = context.Barrier(4)
    with context.Pool(4, begin.wait) as pool:  # terminates its workers at the end
        for _ in pool.imap_unordered(ship, map(str.strip, sys.stdin), chunksize=10):
            pass
