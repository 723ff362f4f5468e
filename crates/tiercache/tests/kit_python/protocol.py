"""A second implementation of the protocol: a reader and a writer of the shared level.

It shares nothing with the crate but `protocol/`, and shows that a client in another language can
join the same keys. It is synchronous, so that its steps can be interleaved by hand.
"""

import json
import pathlib
import secrets

PROTOCOL = pathlib.Path(__file__).parents[2] / "protocol"
SCRIPTS = {path.stem: path.read_text() for path in (PROTOCOL / "scripts").glob("*.lua")}
TOMBSTONE = b"null"
WHITE_SPACE = b" \t\n\r"
LEASE_MS, FENCE_MS, TTL_MS = 5_000, 10_000, 60_000


def marker(kind):
    """A new marker: a lease (a tab) or an unmarked fence (a line feed)."""
    nonce = [WHITE_SPACE[secrets.randbelow(4)] for _ in range(64)]
    if kind == b"\n":
        nonce[-1] = WHITE_SPACE[0]
    return TOMBSTONE + kind + bytes(nonce)


def kind(content):
    """What the content of a key is."""
    if content is None or content == TOMBSTONE:
        return "nothing"
    if len(content) == 69 and all(byte in WHITE_SPACE for byte in content[5:]):
        return {b"null\t": "leased", b"null\n": "fenced"}.get(content[:5], "payload")
    return "payload"


class Shared:
    """The shared level of one process, for one key whose value is a version."""

    def __init__(self, client, key):
        self.client, self.key = client, key

    def script(self, name, *args):
        return self.client("EVAL", SCRIPTS[name], 1, self.key, *args)

    def get(self):
        """The value and nothing else, or `None`."""
        content = self.client("GET", self.key)
        return decode(content) if kind(content) == "payload" else None

    def acquire(self):
        """A value, or else a lease; neither behind a marker of somebody else."""
        lease = marker(b"\t")
        content, _ = self.script("get_lease", lease, LEASE_MS, lease)
        if content is None:
            return None, lease
        return (decode(content), None) if kind(content) == "payload" else (None, None)

    def fill(self, own, version):
        """Stores a value under one's own lease or fence."""
        return self.script("fill", own, encode(version), TTL_MS) == 1

    def raise_fence(self):
        """Call it after the statements of a transaction, before its commit."""
        fence = marker(b"\n")
        self.client("SET", self.key, fence, "PX", FENCE_MS)
        return fence

    def invalidate(self, own=b""):
        self.script("invalidate", own)


class Read:
    """A read in two steps: it loads, and then it stores."""

    def __init__(self, shared, select):
        self.shared, self.lease = shared, None
        self.version = shared.get()
        if self.version is None:
            self.version, self.lease = shared.acquire()
        if self.version is None:
            self.version = select()

    def store(self):
        if self.lease:
            self.shared.fill(self.lease, self.version)
        return self.version


class Renewal:
    """An early refresh in two steps: it loads, and then it stores if nothing has changed."""

    def __init__(self, shared, select):
        self.shared = shared
        self.old = shared.client("GET", shared.key)
        self.expiry = shared.client("PEXPIRETIME", shared.key)
        self.version = select()

    def store(self):
        self.shared.script("refresh", self.expiry, self.old, encode(self.version), TTL_MS)


class Write:
    """A write in three steps: it begins with its fence, commits, and ends."""

    def __init__(self, shared):
        self.shared, self.fence, self.version = shared, shared.raise_fence(), None

    def commit(self, commit):
        self.version = commit()

    def invalidate(self):
        self.shared.invalidate(self.fence)

    def publish(self):
        """Ends with the value that was committed; the row is locked until the commit."""
        if not self.shared.fill(self.fence, self.version):
            self.invalidate()


def encode(version):
    return json.dumps(version).encode()


def decode(content):
    return json.loads(content)
