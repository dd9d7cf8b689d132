"""All tests of all xdist workers log into one file: `pytest -n 4`."""

import logging

from logserv.handlers import RotatingFileHandler


def pytest_configure():
    handler = RotatingFileHandler("app.log", maxBytes=100_000, backupCount=20)
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
