"""Lines for the host's log. Natively they go to standard error."""

import sys


class Log:
    """Never log a record's values. Lines past the host's limit are counted and suppressed."""

    def __init__(self) -> None:
        self.write = lambda level, message: print(f"{level}: {message}", file=sys.stderr)

    def debug(self, message: str) -> None:
        self.write("debug", message)

    def info(self, message: str) -> None:
        self.write("info", message)

    def warn(self, message: str) -> None:
        self.write("warn", message)

    def error(self, message: str) -> None:
        self.write("error", message)


log = Log()
