"""A MemoryHandler in front of our handler: what came before an error is written with it: `python memory.py < orders.txt`."""

import logging.config
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
        },
        "memory": {"class": "logging.handlers.MemoryHandler", "capacity": 100, "target": "file"},
    },
    "root": {"level": "INFO", "handlers": ["memory"]},
}

logging.config.dictConfig(LOGGING)
log = logging.getLogger("shop")

if __name__ == "__main__":
    for line in sys.stdin:
        log.info("shipped %s", line.strip())
