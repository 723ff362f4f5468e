"""Runs the protocol kit with the implementation of `protocol.py` on a Valkey that is emptied.

Arguments: the host and the port of the Valkey.
"""

import json
import sys

import protocol
from protocol import PROTOCOL, Read, Renewal, Shared, Write
from resp import Client


def load(name):
    return json.loads((PROTOCOL / name).read_text())


class Database:
    """A row: its version."""

    def __init__(self):
        self.version = 0

    def select(self):
        return self.version

    def commit(self):
        self.version += 1
        return self.version


class Actor:
    """A process of a race."""

    def __init__(self, client, database):
        self.shared, self.database = Shared(client, "race"), database
        self.loading = self.writing = None

    def read(self):
        return Read(self.shared, self.database.select).store()

    def load(self):
        self.loading = Read(self.shared, self.database.select)

    def renew(self):
        self.loading = Renewal(self.shared, self.database.select)

    def store(self):
        self.loading.store()

    def begin(self):
        self.writing = Write(self.shared)

    def commit(self):
        self.writing.commit(self.database.commit)

    def invalidate(self):
        self.writing.invalidate()

    def publish(self):
        self.writing.publish()

    def write(self):
        self.begin()
        self.commit()
        self.invalidate()

    def put(self):
        self.begin()
        self.commit()
        self.publish()

    def change(self):
        self.database.commit()
        self.shared.invalidate()


def run(race, client):
    """Takes the steps; then each actor reads."""
    client("FLUSHALL")
    database = Database()
    steps = [step.split() for step in race["steps"]]
    actors = {name: Actor(client, database) for name, _ in steps}
    for name, verb in steps:
        getattr(actors[name], verb)()
    versions = {actor.read() for actor in actors.values()}
    return "current" if versions == {database.version} else f"stale: {versions}"


def check_races(client):
    # This implementation has no local level.
    races = [race for race in load("races.json")["races"] if "local" not in race["needs"]]
    for race in races:
        result = run(race, client)
        assert result == race["fenced"], f"{race['id']}: {result}"
    return len(races)


def check_vectors(client):
    vectors = load("vectors.json")
    for vector in vectors["markers"]:
        found = protocol.kind(vector["content"].encode())
        assert found == vector["is"], f"{vector}: {found}"
    for vector in vectors["scripts"]:
        client("FLUSHALL")
        if vector["before"] is not None:
            client("SET", "vector", vector["before"])
        script = protocol.SCRIPTS[vector["script"]]
        reply = text(client("EVAL", script, 1, "vector", *vector["args"]))
        after = text(client("GET", "vector"))
        assert (reply, after) == (vector["reply"], vector["after"]), f"{vector}: {reply}, {after}"
    return len(vectors["markers"]) + len(vectors["scripts"])


def text(reply):
    if isinstance(reply, list):
        return [text(part) for part in reply]
    return reply.decode() if isinstance(reply, bytes) else reply


if __name__ == "__main__":
    valkey = Client(sys.argv[1], int(sys.argv[2]))
    print(f"{check_vectors(valkey)} vectors, {check_races(valkey)} races")
