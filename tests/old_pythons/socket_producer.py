"""Logs numbered records through the standard SocketHandler of any Python from 2.7 on; so written that all of them read it.

usage: socket_producer.py HOST PORT NAME RECORDS
"""
from __future__ import unicode_literals

import logging
import logging.handlers
import sys


def main():
    host, port, name, records = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    logger = logging.getLogger("old." + name)
    logger.setLevel(logging.DEBUG)
    handler = logging.handlers.SocketHandler(host, port)
    logger.addHandler(handler)
    for number in range(records):
        if number % 10 == 9:
            try:
                {}["%s/%d" % (name, number)]
            except KeyError:
                logger.exception("%s %d of %s: %r", name, number, records, "z\xf6\xe9")
        else:
            logger.info("%s %d of %s: %r", name, number, records, {"a": [1, 2.5, None]}, extra={"user": "zo\xeb"})
    handler.close()
    logging.shutdown()


main()
