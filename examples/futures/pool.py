"""Process pool and thread pool of `concurrent.futures`: `python pool.py < orders.txt`."""

import logging.config
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

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
    time.sleep(0.001)


def ship_all(orders):
    with ThreadPoolExecutor(4) as threads:  # in each process
        list(threads.map(ship, orders))


if __name__ == "__main__":
    orders = [line.strip() for line in sys.stdin]
    log.info("started")
    with ProcessPoolExecutor(4) as processes:
        list(processes.map(ship_all, [orders[number::16] for number in range(16)]))
