"""`python -m logserv` is the program `logserv`: this process becomes it."""

import os
import sys

from logserv._program import find_program


def main() -> None:
    """Replaces this process by the program, with the same arguments.

    Exits 1 with a line on stderr where the program is not installed.
    """
    try:
        program = find_program()
    except FileNotFoundError as error:
        sys.exit(f"logserv: {error}")
    os.execv(program, ["logserv", *sys.argv[1:]])


if __name__ == "__main__":
    main()
