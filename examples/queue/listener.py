"""QueueHandler and QueueListener in front of our handler: `python listener.py < orders.txt`, in many processes.

Nothing needs them with our handlers, which never wait for a disk; where they are in place they may stay.
"""

import logging
import queue
import sys
from logging.handlers import QueueHandler, QueueListener

from logserv.handlers import RotatingFileHandler

file = RotatingFileHandler("app.log", maxBytes=100_000, backupCount=20)
file.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
records = queue.SimpleQueue()
listener = QueueListener(records, file)
logging.getLogger().addHandler(
    QueueHandler(records)
)  # without a formatter: the line is made behind the queue
log = logging.getLogger("shop")
log.setLevel(logging.INFO)

if __name__ == "__main__":
    listener.start()
    for line in sys.stdin:
        log.info("shipped %s", line.strip())
    listener.stop()
