"""The receiver of the logging cookbook, "Sending and receiving logging events across a network", which writes to one file.

In: host, port, file, format, maxBytes, backupCount (0: no rotation). The code is the cookbook's, its mistake included: `recv(4)` may
return less than four bytes, which it takes for the end of the connection; what was still to be read is lost without a word.
"""

import logging
import logging.handlers
import pickle
import socketserver
import struct
import sys


class LogRecordStreamHandler(socketserver.StreamRequestHandler):
    """Handler for a streaming logging request."""

    def handle(self) -> None:
        while True:
            chunk = self.connection.recv(4)
            if len(chunk) < 4:
                break
            slen = struct.unpack(">L", chunk)[0]
            chunk = self.connection.recv(slen)
            while len(chunk) < slen:
                chunk = chunk + self.connection.recv(slen - len(chunk))
            obj = pickle.loads(chunk)
            record = logging.makeLogRecord(obj)
            logging.getLogger(record.name).handle(record)


class LogRecordSocketReceiver(socketserver.ThreadingTCPServer):
    """Simple TCP socket-based logging receiver suitable for testing."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    host, port, file, fmt, max_bytes, backup_count = sys.argv[1:]
    handler: logging.Handler = logging.FileHandler(file)
    if int(max_bytes):
        handler = logging.handlers.RotatingFileHandler(
            file, maxBytes=int(max_bytes), backupCount=int(backup_count)
        )
    handler.setFormatter(logging.Formatter(fmt))
    logging.getLogger().addHandler(handler)
    LogRecordSocketReceiver((host, int(port)), LogRecordStreamHandler).serve_forever()


if __name__ == "__main__":
    main()
