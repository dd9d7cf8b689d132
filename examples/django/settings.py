"""Django's settings: LOGGING with one changed line. Django sets TZ from TIME_ZONE; the lines have that zone's time."""

SECRET_KEY = "for this example only"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls"
TIME_ZONE = "America/New_York"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}},
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
