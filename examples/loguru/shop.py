"""loguru with our handler as its sink, in a parent and four forked children: `python shop.py < orders.txt`."""

import multiprocessing
import sys

from logserv.handlers import RotatingFileHandler
from loguru import logger

LINE = "{time:YYYY-MM-DD HH:mm:ss,SSS} {process} {level} {name}: {message}"
logger.remove()
# Instead of: logger.add("app.log", rotation="100 kB", retention=20, enqueue=True)
logger.add(RotatingFileHandler("app.log", maxBytes=100_000, backupCount=20), format=LINE)


def ship(orders):
    for order in orders:
        logger.info("shipped {}", order)


if __name__ == "__main__":
    orders = [line.strip() for line in sys.stdin]
    logger.info("started")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=ship, args=(orders[number::4],)) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
