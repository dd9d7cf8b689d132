"""Fifty greenlets log through one handler: `python greenlets.py < orders.txt`, in as many processes as you like."""

from gevent import monkey

monkey.patch_all()

import logging.config  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

from gevent.pool import Pool  # noqa: E402

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


def ship(order):
    log.info("shipped %s", order)
    time.sleep(0.001)  # the patched one: others go on


if __name__ == "__main__":
    Pool(50).map(ship, [line.strip() for line in sys.stdin])
