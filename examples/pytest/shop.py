"""What is tested: a function that logs."""

import logging

log = logging.getLogger("shop")


def ship(order):
    log.info("shipped %s", order)
