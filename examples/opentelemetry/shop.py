"""OpenTelemetry puts trace and span into every record; the format shows them: `python shop.py < orders.txt`."""

import logging.config
import sys

from opentelemetry import trace
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.sdk.trace import TracerProvider

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "%(asctime)s %(process)d %(levelname)s %(name)s trace=%(otelTraceID)s span=%(otelSpanID)s: %(message)s"
        }
    },
    "handlers": {
        "file": {
            "class": "logserv.handlers.RotatingFileHandler",  # the one changed line
            "filename": "app.log",
            "maxBytes": 100_000,
            "backupCount": 20,
            "formatter": "line",
        }
    },
    "root": {"level": "INFO", "handlers": ["file"]},
}

trace.set_tracer_provider(TracerProvider())
LoggingInstrumentor().instrument(inject_trace_context=True)
logging.config.dictConfig(LOGGING)
log = logging.getLogger("shop")
tracer = trace.get_tracer("shop")

if __name__ == "__main__":
    for line in sys.stdin:
        with tracer.start_as_current_span("ship") as span:
            log.info("shipped %s", line.strip())
