#!/bin/sh
# Checks what cannot be installed by the Makefile itself, and names the exact line that installs what is missing.
# Prints, on success, the Python that sets everything else up.
missing=0
need() { # what it is for, the line that installs it
    echo "missing: $1" >&2
    echo "    install it with:  $2" >&2
    missing=1
}
rust_line="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
rust_minimum=$(sed -n 's/^rust-version = "1\.\([0-9]*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
if ! command -v cargo >/dev/null 2>&1; then
    need "a Rust toolchain (cargo), 1.$rust_minimum or later" "$rust_line"
else
    rust=$(rustc --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\).*/\1/p')
    if [ "${rust:-0}" -lt "$rust_minimum" ]; then
        need "Rust 1.$rust_minimum or later (found: $(rustc --version 2>&1))" "rustup update stable   (or: $rust_line)"
    fi
fi
if ! command -v cc >/dev/null 2>&1; then
    need "a C compiler and linker (cc)" "sudo apt-get install -y gcc libc6-dev"
fi
python=
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3 \
    "$HOME"/.pyenv/versions/*/bin/python3; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    need "Python 3.11 or later with venv" "sudo apt-get install -y python3 python3-venv   (Debian 12, Ubuntu 24.04 and later)"
fi
[ "$missing" -eq 0 ] || exit 1
echo "$python"
