"""Other people's packages beside logserv: `make bench-compare`. Nothing here is needed, or installed, by `make test` and `make bench`."""
