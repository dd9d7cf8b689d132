"""Random arguments of `JsonFormatter` and random records, for ``test_json_formatter.py``. From a seed."""

from __future__ import annotations

import datetime
import logging
import sys
import uuid
from typing import Any

from format_cases import Generator
from logserv._json_values import is_same_everywhere

NAMES = ["message", "levelname", "name", "asctime", "created", "lineno", "process", "thread", "funcName", "taskName", "msecs",
         "user", "request", "missing", "levelno", "module", "pathname", "threadName"]  # fmt: skip
ODD_NAMES = ["exc_info", "exc_text", "stack_info", "msg", "args"]
RENAMED = ["severity", "@message", "log.level", "message", "naïve", "user", 'say "hi"', "timestamp"]
TEXTS = ["", "ready", "two\nlines", "\u2028 \u2029 \x85", "\x00\x1b\x7f\b\f", "tab\t\\ \"quoted\"", "日本語 😀", "a\r\nb\rc\x0bd\x1ce"]  # fmt: skip
DATEFMTS = [None, None, "%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "", "%d 年 \u2028"]
TIMESTAMP_FORMATS = ["iso_utc", "iso_local", "iso_z", "epoch_s", "epoch_ms"]


class JsonGenerator(Generator):
    """Makes formatters' arguments and records. `mainstream` ones are what everybody writes."""

    def text(self) -> str:
        return self.random.choice(TEXTS) if self.random.random() < 0.5 else super().text()

    def some(self, names: list[str], most: int) -> list[str]:
        return self.random.sample(names, self.random.randrange(most + 1))

    def constant(self, mainstream: bool) -> Any:
        """A value for every line; those that no service has are numbers beyond 2**63."""
        value = self.json_value()
        return "shop" if mainstream and not is_same_everywhere(value) else value

    def arguments(self, mainstream: bool) -> dict[str, Any]:
        """Keyword arguments that our formatter and python-json-logger's share, and `fmt`, `style`."""
        pick = self.random
        names = [*self.some(NAMES, 6), *([] if mainstream else self.some(ODD_NAMES, 2))]
        if mainstream and sys.version_info < (3, 12):
            names = [name for name in names if name != "taskName"]  # nothing has it
        pick.shuffle(names)
        names = names or ["message"]
        style = pick.choice(["%", "{", "$", ",", None])
        fmt = {
            "%": " ".join(f"%({name})s" for name in names),
            "{": " ".join(f"{{{name}}}" for name in names),
            "$": " ".join(f"${{{name}}}" for name in names),
            ",": ", ".join(names),
            None: names,
        }[style]
        made: dict[str, Any] = {"fmt": fmt, "style": style or "%", "datefmt": pick.choice(DATEFMTS)}
        if pick.random() < 0.5:
            old = self.some([*NAMES, "exc_info", "service", "timestamp", "context"], 4)
            made["rename_fields"] = {name: pick.choice(RENAMED) for name in old}
            made["rename_fields_keep_missing"] = pick.random() < 0.3
        if pick.random() < 0.4:
            made["static_fields"] = {
                name: self.constant(mainstream) for name in self.some(["service", "user", "env", "é"], 3)
            }
        if pick.random() < 0.3:
            made["defaults"] = {
                name: self.constant(mainstream) for name in self.some(["tenant", "request", "n", "other"], 3)
            }
        if pick.random() < 0.2:
            made["prefix"] = pick.choice(["@cee: ", "", "é\t"])
        made["timestamp"] = pick.choice([False, True, "at", "message"])
        made["json_ensure_ascii"] = pick.random() < 0.5
        made["exc_info_as_array"] = pick.random() < 0.5
        made["stack_info_as_array"] = pick.random() < 0.5
        if not mainstream and pick.random() < 0.3:
            from logserv.formatters import RESERVED_ATTRS

            made["reserved_attrs"] = [*RESERVED_ATTRS, *self.some(["user", "n", "a b"], 2)][
                pick.randrange(2) :
            ]
        return made

    def our_arguments(self) -> dict[str, Any]:
        """Those that python-json-logger does not have."""
        pick = self.random
        return {
            "timestamp_format": pick.choice(TIMESTAMP_FORMATS),
            "extra_key": pick.choice([None, None, "context", "message", "user"]),
            "exc_info_as_object": pick.random() < 0.5,
        }

    def log_record(self, mainstream: bool) -> logging.LogRecord:
        pick = self.random
        values = self.record(mainstream)
        if mainstream and values["created"] > int(values["created"]) + 0.999999:
            values["created"] -= 0.5  # would be rounded into a second of which the offset is not known
        if pick.random() < 0.3:
            values["msg"], values["args"] = "%s", (self.text(),)
        if pick.random() < 0.2:
            names = ["event", "user", "exc_info", "stack_info", "message", "é"]
            values["msg"] = {
                name: self.value() if not mainstream else self.json_value() for name in self.some(names, 4)
            }
            values["args"] = None
        if not mainstream:
            self.make_odd(values)
        error = self.exception()
        info = None if error is None else (type(error), error, error.__traceback__)
        made = logging.LogRecord("test", 20, "/path/to/dummy.ext", 42, "", None, info)
        made.__dict__.update(values)
        if pick.random() < 0.05 and info is None:
            made.exc_text = "Traceback:\r\n  cached\n"
        return made

    def make_odd(self, values: dict[str, Any]) -> None:
        pick = self.random
        odd = [
            ("when", datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)),
            ("id", uuid.UUID(int=7)),
            ("lone", "\udc80"),
            ("_private", object()),
            ("nested", {"a": [float("nan"), {"b": (float("inf"),)}]}),
            ("keys", {7: "a", "7": "b", None: 0, True: 1, 2.5: 2, float("nan"): 3}),
            ("error", ValueError("x")),
            ("user", {"type": 1}),
            ("message", "stale"),
            ("taskName", 5),
        ]
        values.update(pick.sample(odd, pick.choice([0, 0, 1, 2])))
        if pick.random() < 0.05:
            values["msg"] = {"a": 1, 1: 2}
            values["args"] = None
        if pick.random() < 0.05:
            values.update({f"n{number}": number for number in range(60)})
