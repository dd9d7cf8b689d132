"""Formatters that the server renders: one JSON object per record, on one line.

`JsonFormatter` is a `logging.Formatter` for any handler, ours or the standard library's. With a handler of `logserv` the server
writes the JSON; what only Python can write (an object's own text, a subclass) is written in this process, to the
same bytes. Needs neither a server nor the extension.
"""

import json
import logging
import operator
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Literal, NamedTuple, NoReturn, TypeVar

from logserv import _json_cut, _json_values

__all__ = ["RESERVED_ATTRS", "JsonFormatter"]

RESERVED_ATTRS: tuple[str, ...] = (
    "args",
    "asctime",
    "created",
    "exc_info",
    "exc_text",
    "filename",
    "funcName",
    "levelname",
    "levelno",
    "lineno",
    "message",
    "module",
    "msecs",
    "msg",
    "name",
    "pathname",
    "process",
    "processName",
    "relativeCreated",
    "stack_info",
    "taskName",
    "thread",
    "threadName",
)
"""The attributes that every `LogRecord` has: in the line only where `fmt` names them."""

_TIMESTAMP_FORMATS = ("iso_utc", "iso_local", "iso_z", "epoch_s", "epoch_ms")
_ExcInfo = tuple[type[BaseException] | None, BaseException | None, types.TracebackType | None]

_DOLLAR = re.compile(r"\$(?:\$|\{(?P<braced>.+?)\}|(?P<named>[_a-z][_a-z0-9]*))", re.IGNORECASE)

_T = TypeVar("_T")


class _Given(Generic[_T]):
    """An argument of the constructor, to be read. It holds for good: the server has been told of it."""

    def __init__(self, kept_as: str, doc: str) -> None:
        self._get = operator.attrgetter(kept_as)
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, formatter: Any, owner: type) -> _T:
        if formatter is None:
            return self  # type: ignore[return-value]  # of the class, for `help`
        value: Any = self._get(formatter)
        if type(value) is dict:
            value = types.MappingProxyType(_json_values.copy_of(value))
        return value  # type: ignore[no-any-return]

    def __set__(self, formatter: Any, value: object) -> NoReturn:
        raise AttributeError(f"{self._name} of a JsonFormatter cannot be changed; make another formatter")


class _Options(NamedTuple):
    """Everything that decides over the fields of a line."""

    fields: tuple[str, ...]
    rename: dict[str, str]
    keep_missing: bool
    static: dict[str, Any]
    defaults: dict[str, Any]
    skipped: frozenset[str]
    prefix: str
    timestamp: str | None
    timestamp_format: str
    extra_key: str | None
    exc_info_as_array: bool
    exc_info_as_object: bool
    stack_info_as_array: bool


class JsonFormatter(logging.Formatter):
    """Formats each record as one JSON object on one line. Takes the arguments of python-json-logger's `JsonFormatter`.

    The line has, in this order: `defaults`, the fields that `fmt` names, `static_fields`, the items of a message that is a `dict`,
    `exc_info` and `stack_info` where there are any, the attributes of `extra`, the timestamp. A later one of the same name takes
    the value, not the place. It is always one line, and always JSON: NaN and the infinities are null.

    Waits: never. The arguments can be read under their names, but for the first four, and cannot be changed afterwards, apart from `datefmt`.

    Args:
        fmt: The fields, as a format of `style`, of which only the names count, or as a sequence of names. None: `message`.
            A field that the record lacks has its value of `defaults`, or is null.
        datefmt: Format of the field `asctime`, as for `time.strftime`; None: that of `logging.Formatter`.
        style: `"%"`, `"{"`, `"$"`, or `","`: names with commas between them. Without effect where `fmt` is a sequence.
        validate: Whether a format without any field is an error.
        prefix: Text in front of the object; it may not contain the end of a line.
        rename_fields: Other names for fields, by their own: `{"levelname": "severity"}`. Holds for all of the above.
        rename_fields_keep_missing: Whether renamed fields that a record lacks are null; otherwise they are left out.
        static_fields: Fields with the same value in every line.
        reserved_attrs: Attributes that are not taken for `extra`; None: `RESERVED_ATTRS`.
        timestamp: The name of a field for the record's time; True: `"timestamp"`; False: none.
        timestamp_format: How that is written: `"iso_utc"` (`2026-01-31T12:00:00.123456+00:00`), `"iso_local"` (by the
            process's time zone, with its offset), `"iso_z"` (`2026-01-31T12:00:00.123Z`), `"epoch_s"` (seconds since 1970, a
            float), `"epoch_ms"` (milliseconds, an integer).
        defaults: Values of fields that a record lacks; they are in every line.
        extra_key: The name of one field for all attributes of `extra`; None: each is a field of its own.
        exc_info_as_array: Whether a traceback is a list of its lines instead of one text.
        exc_info_as_object: Whether an exception is an object of `type`, `message` and `traceback` instead of the traceback alone.
        stack_info_as_array: Whether a stack is a list of its lines.
        json_default: As for `json.dumps`. With any of these three, lines are written in this process.
        json_encoder: A subclass of `json.JSONEncoder`.
        json_serializer: A function that is called like `json.dumps`.
        json_indent: Only None: a record is one line.
        json_ensure_ascii: Whether characters beyond ASCII are escaped.

    Raises:
        TypeError: An argument of the wrong type.
        ValueError: A style or format that `logging.Formatter` refuses, a `prefix` of several lines, a `json_indent`, an unknown
            `timestamp_format`.
    """

    prefix = _Given[str]("_options.prefix", "Text in front of the object.")
    rename_fields = _Given[Mapping[str, str]]("_options.rename", "Other names for fields, by their own.")
    rename_fields_keep_missing = _Given[bool](
        "_options.keep_missing", "Whether renamed, missing fields are null."
    )
    static_fields = _Given[Mapping[str, Any]]("_options.static", "Fields with the same value in every line.")
    reserved_attrs = _Given[tuple[str, ...]]("_reserved", "Attributes that are not taken for `extra`.")
    timestamp = _Given[str | None](
        "_options.timestamp", "The name of the field for the time; None: there is none."
    )
    timestamp_format = _Given[str]("_options.timestamp_format", "How the time is written.")
    defaults = _Given[Mapping[str, Any]]("_options.defaults", "Values of fields that a record lacks.")
    extra_key = _Given[str | None](
        "_options.extra_key", "The name of one field for all of `extra`; None: each its own."
    )
    exc_info_as_array = _Given[bool]("_options.exc_info_as_array", "Whether a traceback is a list of lines.")
    exc_info_as_object = _Given[bool]("_options.exc_info_as_object", "Whether an exception is an object.")
    stack_info_as_array = _Given[bool]("_options.stack_info_as_array", "Whether a stack is a list of lines.")
    json_default = _Given[Callable[[Any], Any] | None]("_serializer_default", "As for `json.dumps`.")
    json_encoder = _Given[type[json.JSONEncoder] | None](
        "_serializer_class", "A subclass of `json.JSONEncoder`."
    )
    json_serializer = _Given[Callable[..., str]](
        "_serializer", "A function that is called like `json.dumps`."
    )
    json_indent = _Given[None]("_indent", "Always None: a record is one line.")
    json_ensure_ascii = _Given[bool]("_ensure_ascii", "Whether characters beyond ASCII are escaped.")
    _indent = None

    def __init__(
        self,
        fmt: str | Sequence[str] | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$", ","] = "%",
        validate: bool = True,
        *,
        prefix: str = "",
        rename_fields: Mapping[str, str] | None = None,
        rename_fields_keep_missing: bool = False,
        static_fields: Mapping[str, Any] | None = None,
        reserved_attrs: Iterable[str] | None = None,
        timestamp: bool | str = False,
        timestamp_format: Literal["iso_utc", "iso_local", "iso_z", "epoch_s", "epoch_ms"] = "iso_utc",
        defaults: Mapping[str, Any] | None = None,
        extra_key: str | None = None,
        exc_info_as_array: bool = False,
        exc_info_as_object: bool = False,
        stack_info_as_array: bool = False,
        json_default: Callable[[Any], Any] | None = None,
        json_encoder: type[json.JSONEncoder] | None = None,
        json_serializer: Callable[..., str] = json.dumps,
        json_indent: None = None,
        json_ensure_ascii: bool = True,
    ) -> None:
        if style == "," or not (fmt is None or isinstance(fmt, str)):
            super().__init__(None, datefmt)
        else:
            super().__init__(fmt, datefmt, style, validate)
        if json_indent is not None:
            raise ValueError(f"a record is one line: json_indent must be None, not {json_indent!r}")
        if timestamp_format not in _TIMESTAMP_FORMATS:
            known = ", ".join(_TIMESTAMP_FORMATS)
            raise ValueError(f"expected a timestamp_format of {known}, received {timestamp_format!r}")
        if len(f"{prefix}.".splitlines()) > 1:
            raise ValueError(f"a record is one line: the prefix {prefix!r} has the end of one")
        if isinstance(reserved_attrs, str):
            raise TypeError("reserved_attrs must be a sequence of names, not a str")
        self._reserved = RESERVED_ATTRS if reserved_attrs is None else tuple(reserved_attrs)
        self._fields_style = style
        if fmt is None or isinstance(fmt, str):
            if style == ",":
                self._fmt = fmt or ""
            fields = _names_of(self.parse())
        else:
            fields = _names_of(fmt)
        key = "timestamp" if timestamp is True else timestamp or None
        self._options = _Options(
            fields=fields,
            rename=dict(rename_fields or {}),
            keep_missing=bool(rename_fields_keep_missing),
            static=_json_values.copy_of(dict(static_fields or {})),
            defaults=_json_values.copy_of(dict(defaults or {})),
            skipped=frozenset((*self._reserved, *fields)),
            prefix=prefix,
            timestamp=key,
            timestamp_format=timestamp_format,
            extra_key=extra_key,
            exc_info_as_array=bool(exc_info_as_array),
            exc_info_as_object=bool(exc_info_as_object),
            stack_info_as_array=bool(stack_info_as_array),
        )
        _check_names(self._options)
        self._ensure_ascii = bool(json_ensure_ascii)
        self._serializer = json_serializer
        self._serializer_default, self._serializer_class = json_default, json_encoder
        self._default: Callable[[Any], Any] = json_default or _json_values.default
        made = json_encoder or json.JSONEncoder
        own_default = json_default or (None if json_encoder else _json_values.default)
        self._encoder = made(ensure_ascii=self._ensure_ascii, allow_nan=False, default=own_default)
        if json_encoder and not json_default:
            self._default = self._encoder.default
        is_custom = json_serializer is not json.dumps or json_default is not None or json_encoder is not None
        self._specification = None if is_custom else _specification(self._options, self._ensure_ascii)

    def parse(self) -> list[str]:
        """The names of the fields, as the format has them. For subclasses, as in python-json-logger: the constructor calls it, once,
        unless `fmt` is a sequence of names; the format is in `self._fmt` by then, and nothing else is.
        """
        return _fields_of(self._fmt or "", self._fields_style)

    def usesTime(self) -> bool:
        """Whether `asctime` is one of the fields."""
        return "asctime" in self._options.fields

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON. Sets its `message`, and `asctime` where that is a field; its exception is formatted anew,
        whatever other formatters have left in `exc_text`.

        Raises:
            Exception: What `record.getMessage()` raises, where message and arguments do not fit.
        """
        message: object = record.msg  # typeshed: always a str
        items: dict[Any, Any] = {}
        if isinstance(message, dict):
            items = dict(message)
            record.message = ""
        else:
            record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        if not items.get("exc_info"):
            if record.exc_info:
                trace = self.formatException(record.exc_info)
                items["exc_info"] = self._exception(trace, self._exception_head(record.exc_info))
            elif record.exc_text:
                items["exc_info"] = self._exception(record.exc_text, {"type": None, "message": None})
        if record.stack_info and not items.get("stack_info"):
            stack = self.formatStack(record.stack_info)
            items["stack_info"] = stack.splitlines() if self._options.stack_info_as_array else stack
        data: dict[Any, Any] = {}
        self.add_fields(data, record, items)
        return self.serialize_log_record(self.process_log_record(data))

    def add_fields(
        self, log_data: dict[Any, Any], record: logging.LogRecord, message_dict: dict[Any, Any]
    ) -> None:
        """Puts the fields of `record` into `log_data`. For subclasses, as in python-json-logger.

        Args:
            log_data: What will be the line.
            record: The record, with `message` and perhaps `asctime`.
            message_dict: The items of a message that is a dict, then `exc_info` and `stack_info`.
        """
        options = self._options
        renamed = options.rename.get
        values = record.__dict__
        for name, value in options.defaults.items():
            log_data[renamed(name, name)] = value
        for name in options.fields:
            log_data[renamed(name, name)] = values.get(name, options.defaults.get(name))
        for part in (options.static, message_dict):
            for name, value in part.items():
                log_data[renamed(name, name)] = value
        extra = log_data if options.extra_key is None else {}
        for name, value in values.items():
            if name not in options.skipped and not (isinstance(name, str) and name.startswith("_")):
                extra[renamed(name, name)] = value
        if options.extra_key is not None and extra:
            log_data[renamed(options.extra_key, options.extra_key)] = extra
        if options.timestamp is not None:
            log_data[renamed(options.timestamp, options.timestamp)] = self._timestamp(record.created)
        if options.keep_missing:
            for name in options.rename.values():
                if name not in log_data and name not in extra:
                    log_data[name] = None

    def process_log_record(self, log_data: dict[Any, Any]) -> dict[Any, Any]:
        """For subclasses: what it returns is written instead of `log_data`, which it may change. Here: `log_data`."""
        return log_data

    def serialize_log_record(self, log_data: dict[Any, Any]) -> str:
        """The prefix, and the JSON behind it."""
        return self._options.prefix + self.jsonify_log_record(log_data)

    def jsonify_log_record(self, log_data: dict[Any, Any]) -> str:
        """`log_data` as one line of JSON."""
        if self._serializer is json.dumps:
            return _json_values.encode(log_data, self._encoder, self._default)
        own_default = None if self._serializer_default or self._serializer_class else _json_values.default
        text = self._serializer(
            log_data,
            default=self._serializer_default or own_default,
            cls=self._serializer_class,
            indent=None,
            ensure_ascii=self._ensure_ascii,
        )
        return " ".join(_json_values.one_line(text).splitlines())

    def _shortened(self, line: str, bytes_max: int) -> str | None:
        """A line of this formatter's, in at most `bytes_max` bytes, for the handlers of logserv; None: it is no object."""
        prefix = self._options.prefix
        if not line.startswith(prefix):
            return None
        encoder = json.JSONEncoder(ensure_ascii=self._ensure_ascii)
        text = _json_cut.shorter(line[len(prefix) :], bytes_max - len(prefix.encode()), encoder)
        return None if text is None else prefix + text

    def _exception(self, trace: Any, head: dict[str, str | None]) -> Any:
        if self._options.exc_info_as_array and isinstance(trace, str):
            trace = trace.splitlines()
        return {**head, "traceback": trace} if self._options.exc_info_as_object else trace

    def _exception_head(self, exc_info: Any) -> dict[str, str | None]:
        """Type and message; also what is sent to the server beside the traceback."""
        kind, value = exc_info[0], exc_info[1]
        if kind is None:
            return {"type": None, "message": None}
        name, module = getattr(kind, "__qualname__", ""), getattr(kind, "__module__", None)
        if isinstance(module, str) and module not in ("builtins", "__main__"):
            name = f"{module}.{name}"
        try:
            text = str(value)
        except Exception:
            text = "<exception str() failed>"  # as `traceback` has it
        return {"type": name, "message": text}

    def _timestamp(self, created: float) -> Any:
        kind = self._options.timestamp_format
        if kind == "epoch_s":
            return created
        if kind == "epoch_ms":
            return round(created * 1000)
        moment = datetime.fromtimestamp(created, tz=UTC)
        if kind == "iso_z":
            return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
        return moment.astimezone() if kind == "iso_local" else moment


def _names_of(names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"expected a sequence of names of fields, received {type(names).__name__}: {names!r}")
    return tuple(names)


def _fields_of(fmt: str, style: str) -> list[str]:
    if style == ",":
        return [name.strip() for name in fmt.split(",") if name.strip()]
    if style == "%":
        return re.findall(r"%\((.+?)\)", fmt)
    if style == "{":
        # A conversion or a width says nothing about a value in JSON.
        return [re.split("[!:]", name, maxsplit=1)[0] for name in re.findall(r"\{(.+?)\}", fmt)]
    names = (match["braced"] or match["named"] for match in _DOLLAR.finditer(fmt))
    return [name for name in names if name]


def _check_names(options: _Options) -> None:
    names = [*options.fields, *options.skipped, *options.rename.values(), options.prefix]
    names += [*options.rename, *options.static, *options.defaults]
    names += [name for name in (options.timestamp, options.extra_key) if name is not None]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names of fields must be str, not {type(name).__name__}: {name!r}")


def _specification(options: _Options, ensure_ascii: bool) -> str | None:
    """What the server is told, as JSON; None: only Python can write these lines."""
    told = {
        **options._asdict(),
        "rename": list(options.rename.items()),
        "skipped": sorted(options.skipped),
        "ensure_ascii": ensure_ascii,
    }
    # A standard attribute that is neither reserved nor a field stands among those of `extra`, whose place Python knows.
    is_whole = options.skipped.issuperset(RESERVED_ATTRS)
    return json.dumps(told) if is_whole and _json_values.is_same_everywhere(told) else None
