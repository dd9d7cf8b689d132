"""Celery's prefork workers log into one rotating file: `celery -A tasks worker --concurrency 4`.

`python tasks.py < orders.txt` makes a task of each line. The broker is a directory, so that nothing else must run.
"""

import logging.config
import sys
from pathlib import Path

from celery import Celery
from celery.signals import setup_logging

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
    "loggers": {"celery": {"level": "WARNING"}},
}

queue = Path("broker")
queue.mkdir(exist_ok=True)
app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": queue,
    "data_folder_out": queue,
    "polling_interval": 0.1,  # seconds
}
app.conf.worker_max_tasks_per_child = 25  # a worker process is replaced now and then

log = logging.getLogger("shop")


@setup_logging.connect
def configure_logging(**_):
    logging.config.dictConfig(LOGGING)  # instead of Celery's own


@app.task
def ship(order):
    log.info("shipped %s", order)


if __name__ == "__main__":
    for line in sys.stdin:
        ship.delay(line.strip())
