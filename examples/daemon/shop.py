"""A daemon that closes every descriptor it did not open: `python shop.py [--foreground] < orders.txt`."""

import logging.config
import sys

from daemon import DaemonContext

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

logging.config.dictConfig(LOGGING)
log = logging.getLogger("shop")

if __name__ == "__main__":
    orders = [line.strip() for line in sys.stdin]
    log.info("started")
    # No `files_preserve`: the handler does not need its descriptors.
    with DaemonContext(detach_process="--foreground" not in sys.argv):
        for order in orders:
            log.info("shipped %s", order)
