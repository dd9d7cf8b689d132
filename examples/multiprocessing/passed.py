"""A handler is pickled for spawned children, and copied for a second logger: `python passed.py < orders.txt`."""

import copy
import logging
import multiprocessing
import sys

from logserv.handlers import RotatingFileHandler


def ship(handler, orders):
    log = logging.getLogger("shop")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    for order in orders:
        log.info("shipped %s", order)


if __name__ == "__main__":
    file = RotatingFileHandler("app.log", maxBytes=100_000, backupCount=20)
    file.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    audit = copy.copy(file)
    audit.setLevel(logging.WARNING)  # the copy's alone
    logging.basicConfig(level=logging.INFO, handlers=[audit])
    orders = [line.strip() for line in sys.stdin]
    logging.warning("started")
    logging.info("nobody's level")
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=ship, args=(file, orders[number::4])) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
