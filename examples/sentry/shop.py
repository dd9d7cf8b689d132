"""sentry-sdk's logging integration beside our handler: `SENTRY_DSN=https://… python shop.py < orders.txt`."""

import logging.config
import sys

import sentry_sdk

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
sentry_sdk.init()  # the integration is on by itself: records are breadcrumbs, errors events
log = logging.getLogger("shop")

if __name__ == "__main__":
    for number, line in enumerate(sys.stdin):
        if number % 100 == 99:
            log.error("shipped %s", line.strip())
        else:
            log.info("shipped %s", line.strip())
