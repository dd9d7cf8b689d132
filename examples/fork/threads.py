"""A process forks again and again while eight of its threads log: `python threads.py < orders.txt`.

Of nine lines eight go to the threads, each to its own; every ninth is for the children, twenty a child.
"""

import logging.config
import os
import sys
import threading
import time

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(process)d %(levelname)s %(threadName)s: %(message)s"}},
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
begin = threading.Barrier(9)


def ship(orders):
    begin.wait()
    for order in orders:
        log.info("shipped %s", order)
        time.sleep(0.001)


def fork(orders):
    if os.fork() == 0:
        for order in orders:
            log.info("shipped %s", order)
        os._exit(0)  # at once: nothing of Python's end is run
    os.wait()


if __name__ == "__main__":
    orders = [line.strip() for line in sys.stdin]
    threads = [threading.Thread(target=ship, args=(orders[number::9],)) for number in range(8)]
    for thread in threads:
        thread.start()
    begin.wait()
    for number in range(8, len(orders), 9 * 20):
        time.sleep(0.05)
        fork(orders[number : number + 9 * 20 : 9])
    for thread in threads:
        thread.join()
