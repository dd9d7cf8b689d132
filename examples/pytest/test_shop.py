"""caplog, tmp_path and xdist beside our handlers."""

from pathlib import Path

import pytest
from logserv.handlers import RotatingFileHandler
from shop import log, ship

FILE = Path("orders.txt")
ORDERS = FILE.read_text().splitlines() if FILE.exists() else ["a", "b", "c"]


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_is_logged(order, caplog):
    ship(order)
    assert caplog.messages == [f"shipped {order}"]


@pytest.fixture
def file(tmp_path):
    handler = RotatingFileHandler(tmp_path / "shop.log", maxBytes=1_000, backupCount=3)
    log.addHandler(handler)
    log.propagate = False
    yield handler
    log.propagate = True
    log.removeHandler(handler)
    handler.close()  # before the directory goes


@pytest.mark.parametrize("number", range(4))
def test_the_file_is_there_after_a_flush(file, tmp_path, number):
    ship(f"order {number}")
    assert file.flush()
    assert (tmp_path / "shop.log").read_text() == f"shipped order {number}\n"
