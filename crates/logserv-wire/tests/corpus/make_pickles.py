#!/usr/bin/env python3
"""Makes the corpus of pickles in ``pickle/`` beside this file: seeds for fuzzing, and vectors for the tests.

Records by every Python below ``~/.pyenv``, as its SocketHandler sends them; values that use each opcode; small forms of
the known attacks (the large ones are made by ``tests/pickle_attacks.rs``). The same Pythons make the same bytes.

    python3 make_pickles.py
"""

from __future__ import annotations

import collections
import datetime
import decimal
import json
import os
import pickle
import struct
import subprocess
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "pickle"
RECORD = r"""
import logging, logging.handlers, sys
record = logging.LogRecord("app.db", 30, "/srv/app/db.py", 42, "caf\xe9 %s", ("lost",), None, "query")
record.__dict__.update(created=1700000000.25, msecs=250.0, relativeCreated=12.5, thread=140735268357120, process=4711)
record.user, record.tags, record.n = "zoe", ["a", {"b": (1, None, True)}], 2 ** 70
frame = logging.handlers.SocketHandler("localhost", 1).makePickle(record)
getattr(sys.stdout, "buffer", sys.stdout).write(frame[4:])
"""
# Flat extras only, names that the record's keys and values share, a text that is not ASCII, a time that another
# handler's formatter has left.
USUAL_RECORD = r"""
import logging, logging.handlers, sys
record = logging.LogRecord("app.db", 30, "<stdin>", 300, "caf\xe9 %s", ("lost",), None, "process", "in caf\xe9")
record.__dict__.update(created=1700000000.25, msecs=250.0, relativeCreated=12.5, thread=140735268357120, process=4711)
record.__dict__.update(asctime="12:00", user="zoe", ratio=0.5, is_new=True, is_old=False, size=-7, total=2 ** 40)
record.__dict__.update(nothing=None, again=record.name, text="\u20ac")
frame = logging.handlers.SocketHandler("localhost", 1).makePickle(record)
sys.stdout.buffer.write(frame[4:])
"""


class Plain:
    """An object of no built-in class."""

    def __init__(self) -> None:
        self.x = 1


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def records() -> dict[str, bytes]:
    """A record by each Python."""
    made = {}
    for python in sorted(Path.home().glob(".pyenv/versions/*/bin/python")):
        version = ".".join(python.parts[-3].split(".")[:2])
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        for name, source in [("record", RECORD), ("usual-record", USUAL_RECORD)]:
            if name == "usual-record" and version.startswith("2."):
                continue
            source = "# -*- coding: latin-1 -*-\n" + source
            done = subprocess.run([python, "-c", source], stdout=subprocess.PIPE, env=environment, check=True)
            made[f"{name}-{version}"] = done.stdout
    return made


def values() -> dict[str, bytes]:
    """Values of every type in every protocol."""
    shared = ["shared", 1]
    plain = Plain()
    cycle: list[object] = [1]
    cycle.append(cycle)
    value = {
        "msg": "all",
        "args": None,
        "numbers": [
            0,
            -1,
            255,
            256,
            65536,
            -(2**31),
            2**31,
            2**63,
            -(2**64),
            2**300,
            1.5,
            float("inf"),
            float("nan"),
        ],
        "texts": ["", "é€😀", "\udc80", "a\n\r\\'\"", "x" * 300],
        "bytes": [b"", b"\x00\xff\n", b"y" * 300, bytearray(b"z\n")],
        "containers": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {1: 2}, {3}, frozenset([4]), set()],
        "constants": [None, True, False],
        "shared": [shared, shared, {"again": shared}],
        "cycle": cycle,
    }
    objects = {
        "objects": [
            datetime.datetime(2024, 1, 2, 3, 4, 5, 6, datetime.UTC),
            decimal.Decimal("1.50"),
            uuid.UUID(int=1),
            collections.OrderedDict(a=1),
            collections.deque([1, 2], maxlen=3),
            ValueError("lost"),
            Plain,
            plain,
            complex(1, 2),
        ]
    }
    made = {}
    for protocol in range(6):
        made[f"values-{protocol}"] = pickle.dumps(value, protocol)
        made[f"objects-{protocol}"] = pickle.dumps(objects, protocol)
    return made


def attacks() -> dict[str, bytes]:
    """What must be refused, or become a text."""
    doubling = b"(lp0\n" + b"".join(b"(g%d\ng%d\nlp%d\n" % (n, n, n + 1) for n in range(60)) + b"."
    return {
        "attack-reduce": b"}" + text("msg") + b"cos\nsystem\n(" + text("touch marker") + b"tRs.",
        "attack-inst": b"(S'touch marker'\nios\nsystem\n.",
        "attack-obj": b"(cos\nsystem\n" + text("touch marker") + b"o.",
        "attack-newobj-ex": b"csubprocess\nPopen\n("
        + text("touch marker")
        + b"t}"
        + text("shell")
        + b"\x88s\x92.",
        "attack-stack-global": text("os") + text("system") + b"\x93" + text("touch marker") + b"\x85R.",
        "attack-build": b"}" + text("x") + b"cos\nsystem\n" + text("touch marker") + b"bs.",
        "attack-doubling": doubling,
        "attack-doubling-dict": b"}q\x00"
        + b"".join(b"}(K\x01h%cK\x02h%cuq%c" % (n, n, n + 1) for n in range(40))
        + b".",
        "attack-cycle-wide": b"]q\x00(" + b"h\x00" * 20 + b"e.",
        "attack-deep-list": b"]" * 300 + b"a" * 299 + b".",
        "attack-deep-tuple": b")" + b"\x85" * 300 + b".",
        "attack-deep-object": b"cx\ny\n" + b")R" + b"\x85cx\ny\n\x86" * 100 + b".",
        "attack-object-in-itself": b"cx\ny\n)Rq\x00}" + text("self") + b"h\x00sb.",
        "attack-marks": b"(" * 300 + b".",
        "attack-dup": text("x" * 200) + b"2" * 200 + b"l.",
        "attack-dup-list": b"(" + text("x" * 200) + b"2" * 200 + b"l.",
        "attack-digits": b"L" + b"9" * 5000 + b"L\n.",
        "attack-long4": b"\x8b" + struct.pack("<i", 4000) + b"\xff" * 3999 + b"\x7f.",
        "attack-long4-negative-length": b"\x8b" + struct.pack("<i", -1) + b".",
        "attack-binunicode8": b"\x8d" + struct.pack("<Q", 1 << 62) + b"x.",
        "attack-bytearray8": b"\x96" + struct.pack("<Q", (1 << 64) - 1) + b"x.",
        "attack-frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 63) + b"N.",
        "attack-long-binput": b"Nr\xff\xff\xff\xffj\xff\xff\xff\xff\x86.",
        "attack-put": b"Np4294967295\ng4294967295\n\x86.",
        "attack-put-huge": b"Np99999999999999999999\n.",
        "attack-memo-mixed": b"K\x01q\x05K\x02\x94K\x03\x940h\x00h\x01h\x05\x87.",
        "attack-persid": b"P12\n.",
        "attack-binpersid": b"NQ.",
        "attack-ext1": b"\x82\x01.",
        "attack-ext4": b"\x84\x01\x00\x00\x00.",
        "attack-next-buffer": b"\x97.",
        "attack-readonly-buffer": b"C\x01x\x98.",
        "attack-protocol-6": b"\x80\x06N.",
        "attack-pop-mark": b"(K\x010N1N.",
        "attack-pop-below-mark": b"K\x01(0K\x02(00.",
        "attack-append-to-itself": b"]q\x00h\x00ah\x00a.",
        "attack-setitem-on-list": b"]K\x01K\x02s.",
        "attack-odd-pairs": b"}(K\x01K\x02K\x03u.",
        "attack-empty": b"",
        "attack-stop": b".",
        "attack-no-stop": b"N",
        "attack-huge-width": pickle.dumps({"msg": "%1000000000d %.999999999f", "args": (1, 2.0)}, 1),
        "attack-unusual-types": pickle.dumps(
            {
                "msg": [1],
                "levelno": "x",
                "created": None,
                "name": 5,
                "thread": -1,
                "process": 2**40,
                "lineno": 1e9,
            },
            2,
        ),
        "attack-keys": pickle.dumps({1: 2, b"msg": 3, ("a",): 4, None: 5, "": 6, "\udc80": 7}, 4),
    }


def main() -> None:
    OUT.mkdir(exist_ok=True)
    made = {**records(), **values(), **attacks()}
    for name, frame in made.items():
        (OUT / f"{name}.bin").write_bytes(frame)
    print(json.dumps({"files": len(made), "bytes": sum(map(len, made.values()))}))


if __name__ == "__main__":
    main()
