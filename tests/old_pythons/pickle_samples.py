"""Pickles of random values and log records, by whichever Python runs this: 2.7 and 3.6 to 3.13.

    pickle_samples.py values SEED COUNT FRAMES    pickles in all protocols to FRAMES
    pickle_samples.py records SEED COUNT FRAMES   LogRecords, as SocketHandler sends them and in all protocols
    pickle_samples.py load FRAMES                 unpickles each frame, as a server of 2013 would

FRAMES holds pickles behind their length as a big-endian u32. On stdout comes one line of JSON for each: what this
Python itself unpickles, with types spelled out. Texts and bytes are hexadecimal, so that no codec interferes.
"""
from __future__ import print_function

import binascii
import json
import logging
import logging.handlers
import pickle
import random
import struct
import sys

OLD = sys.version_info[0] == 2
if OLD:
    text_type, long_type, char = unicode, long, unichr  # noqa: F821
    try:
        import cPickle
    except ImportError:
        cPickle = None
    PICKLERS = [module for module in (pickle, cPickle) if module]
else:
    text_type, long_type, char = str, int, chr
    PICKLERS = [pickle]


def hexadecimal(data):
    return binascii.hexlify(data).decode("ascii")


def utf8(text):
    return text.encode("utf-8") if OLD else text.encode("utf-8", "surrogatepass")


def typed(value):
    """The value as JSON that says its types."""
    if value is None:
        return ["none"]
    if isinstance(value, bool):
        return ["bool", value]
    if isinstance(value, (int, long_type)):
        return ["int", str(value)]
    if isinstance(value, float):
        return ["float", hexadecimal(struct.pack(">d", value))]
    if isinstance(value, text_type):
        return ["str", hexadecimal(utf8(value))]
    if isinstance(value, bytes):
        return ["old" if OLD else "bytes", hexadecimal(value)]
    if isinstance(value, list):
        return ["list", [typed(item) for item in value]]
    if isinstance(value, tuple):
        return ["tuple", [typed(item) for item in value]]
    if isinstance(value, dict):
        return ["dict", [[typed(key), typed(item)] for key, item in value.items()]]
    return ["other", type(value).__name__]


class Maker(object):
    """Random values, some of them shared within one another."""

    def __init__(self, rng):
        self.rng = rng
        self.seen = []

    def text(self):
        rng = self.rng
        # No text has surrogates of both kinds: two neighbours may be one character, depending on the Python.
        alphabet = rng.choice(
            [u"abc xyz", u"a\n\r\t\\'\"%\0\x1a\x7f", u"\xe9\xff\u20ac\ufeff\u2028", u"\ud800x", u"\udc80x"]
        )
        if rng.random() < 0.1 and u"x" not in alphabet:
            alphabet += char(0x1F600) if sys.maxunicode > 0xFFFF else u"\ud83d\ude00"
        length = rng.choice([0, 1, 3, 10, 40, 255, 256, 300] if rng.random() < 0.3 else [0, 1, 5, 9])
        return u"".join(rng.choice(alphabet) for _ in range(length))

    def octets(self):
        length = self.rng.choice([0, 1, 5, 9, 255, 256, 300])
        kind = self.rng.choice([lambda: self.rng.randrange(256), lambda: self.rng.choice([10, 39, 34, 92, 97])])
        return bytes(bytearray(kind() for _ in range(length)))

    def integer(self):
        bits = self.rng.choice([1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 500, 2100])
        edge = self.rng.choice([0, 1, -1, self.rng.getrandbits(bits)])
        number = ((1 << bits) + edge) * self.rng.choice([1, -1])
        return number if self.rng.random() < 0.9 else self.rng.choice([0, -1, 1, 255, 256, 65535, 65536])

    def number(self):
        return self.rng.choice([0.0, -0.0, 1.5, 1e300, 5e-324, float("inf"), -float("inf"), self.rng.random(), 0.1])

    def value(self, depth=0):
        rng = self.rng
        if self.seen and rng.random() < 0.15:
            return rng.choice(self.seen)
        kind = rng.randrange(8 if depth > 4 else 12)
        if kind < 2:
            made = self.text()
        elif kind == 2:
            made = self.octets()
        elif kind < 5:
            made = self.integer()
        elif kind == 5:
            made = self.number()
        elif kind < 8:
            made = rng.choice([None, True, False])
        else:
            length = rng.choice([0, 1, 2, 3, 4, 7]) if rng.random() < 0.97 else 1003
            deeper = depth + 1 if length < 1000 else 9
            if kind == 8:
                made = [self.value(deeper) for _ in range(length)]
            elif kind == 9:
                made = tuple(self.value(deeper) for _ in range(length))
            else:
                made = dict((self.key(), self.value(deeper)) for _ in range(length))
        if len(self.seen) < 50:
            self.seen.append(made)
        return made

    def key(self):
        kind = self.rng.randrange(6)
        if kind == 0:
            return self.integer()
        if kind == 1:
            return (self.text(), None)
        return self.text() if not OLD or kind < 4 else self.octets()


def protocols(module):
    return range(module.HIGHEST_PROTOCOL + 1)


def log_record(maker):
    rng = maker.rng
    record = logging.LogRecord(
        rng.choice(["root", "app.db", maker.text()]),
        rng.choice([0, 10, 20, 30, 40, 50, 25, -5]),
        rng.choice(["/srv/app/sub.py", maker.text()]),
        rng.randrange(100000),
        # Python 2 cannot mix foreign bytes into a text.
        "user %r: %r" if OLD else rng.choice(["user %s: %r", u"\xe9 %s %r"]),
        (maker.value(3), maker.value(3)),
        None,
        rng.choice([None, "handle", maker.text()]),
    )
    if rng.random() < 0.2:
        try:
            raise ValueError("lost" if OLD else maker.text())
        except ValueError:
            record.exc_info = sys.exc_info()
    if rng.random() < 0.2:
        record.stack_info = u"Stack (most recent call last):\n" + maker.text()
    if rng.random() < 0.1:
        name = rng.choice(["levelno", "lineno", "created", "thread", "process", "name", "levelname", "msecs"])
        setattr(record, name, rng.choice([None, True, 1, 2.5, u"odd", 2**40, -7, [1]]))
    for number in range(rng.choice([0, 0, 1, 3])):
        setattr(record, rng.choice(["user", "request_id", u"n%d" % number]), maker.value())
    return record


def attributes(record):
    """The dict that SocketHandler.makePickle pickles."""
    made = dict(record.__dict__)
    if record.exc_info:
        made["exc_text"] = logging.Formatter().formatException(record.exc_info)
    made["msg"] = record.getMessage()
    made["args"] = None
    made["exc_info"] = None
    made.pop("message", None)
    return made


def write(frames, frame, expected):
    frames.write(struct.pack(">I", len(frame)) + frame)
    print(json.dumps(expected))


def main(mode, *rest):
    if mode == "load":
        with open(rest[0], "rb") as frames:
            while True:
                head = frames.read(4)
                if not head:
                    return
                loaded = pickle.loads(frames.read(struct.unpack(">I", head)[0]))
                record = logging.makeLogRecord(loaded)
                record.getMessage()
                logging.Formatter("%(levelname)s %(name)s %(message)s").format(record)
                print(json.dumps(typed(loaded)))
    seed, count, path = rest
    rng = random.Random(int(seed))
    handler = logging.handlers.SocketHandler("localhost", 1)
    with open(path, "wb") as frames:
        for _ in range(int(count)):
            maker = Maker(rng)
            if mode == "values":
                made = maker.value()
            else:
                record = log_record(maker)
                made = attributes(record)
                frame = handler.makePickle(record)[4:]
                write(frames, frame, typed(pickle.loads(frame)))
            for module in PICKLERS:
                for protocol in protocols(module):
                    frame = module.dumps(made, protocol)
                    write(frames, frame, typed(module.loads(frame)))


if __name__ == "__main__":
    main(*sys.argv[1:])
