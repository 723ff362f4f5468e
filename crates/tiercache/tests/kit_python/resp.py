"""A minimal Valkey client (RESP2) with the standard library only."""

import socket


class ReplyError(Exception):
    """An error reply."""


class Client:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=5)
        self.replies = self.socket.makefile("rb")

    def __call__(self, *args):
        """Sends a command and returns its reply."""
        encoded = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
        parts = [b"*%d\r\n" % len(encoded)]
        parts += [b"$%d\r\n%s\r\n" % (len(arg), arg) for arg in encoded]
        self.socket.sendall(b"".join(parts))
        return self._reply()

    def _reply(self):
        line = self.replies.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise ReplyError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.replies.read(length + 2)[:-2]
        if kind == b"*":
            return None if int(rest) < 0 else [self._reply() for _ in range(int(rest))]
        raise ReplyError(f"unexpected reply: {line!r}")
