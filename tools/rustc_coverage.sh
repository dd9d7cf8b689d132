#!/usr/bin/env bash
# bash, for dash drops what cargo passes in variables such as CARGO_BIN_EXE_logserv-fuzz.
# Stands before rustc (RUSTC_WORKSPACE_WRAPPER) and has the crates of this workspace, and only those, count what runs.
exec "$@" -Cinstrument-coverage
