#!/usr/bin/env python3
"""proxy.py - stands between a provider and tarnd, and does one thing to a set in the making.

    proxy.py LISTEN_PORT SERVER_PORT CONTROL

CONTROL is a file with what it is to do, read anew for every answer of the server:

    pass            nothing (also when there is no file)
    late MS         the commit's body comes so much later
    half            half of the commit's body comes, and then the connection's end
    never           none of it
    unanswered      the commit is done, and its answer is lost
    gone STATE      nothing gets through from the moment on that the newest set is in STATE: the answer that
                    made it so is the last
    deaf STATE      the same, and that answer is lost too
    kill STATE PID  that process is killed when the newest set is in STATE, before the answer is passed on

It sees TLS records, never what is in them: that a set is in a state it learns from the server, asked
with `tarn` before an answer is passed on.  When a set is armed, the provider's next record is the head
of the commit request, and the one after it its body.  After it was done the file says "done", and the
word stays in force (gone, deaf) until the file is written again.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

listen_port, server_port, control_path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
lock = threading.Lock()
connections = set()
armed_records = None  # records of the provider since a set was armed; None: it was not
blocked = False


def words():
    try:
        with open(control_path, encoding="ascii") as file:
            return file.read().split() or ["pass"]
    except FileNotFoundError:
        return ["pass"]


def done(what):
    with open(control_path, "w", encoding="ascii") as file:
        file.write("done\n")
    print("done: " + what, flush=True)


def is_there(state):
    """The newest set on the server is in that state."""
    result = subprocess.run(["tarn", "set", "list", "--json"], capture_output=True, timeout=20, check=False)
    try:
        rows = json.loads(result.stdout)["sets"]
    except (ValueError, KeyError):
        return False
    return bool(rows) and max(rows, key=lambda row: row["created_at"])["state"] == state


def record_of(sock):
    """One TLS record, whole; b"" at the end."""
    data = b""
    wanted = 5
    while len(data) < wanted:
        more = sock.recv(wanted - len(data))
        if not more:
            return b""
        data += more
        if len(data) == 5:
            wanted = 5 + int.from_bytes(data[3:5], "big")
    return data


class Connection:
    def __init__(self, client):
        self.client = client
        self.server = socket.create_connection(("127.0.0.1", server_port), 5)
        self.is_lost = False  # answers are
        self.pending = 0  # of the provider's records, on their way
        for sock in (self.client, self.server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(None)

    def start(self):
        with lock:
            connections.add(self)
        threading.Thread(target=self.run, args=(self.up,), daemon=True).start()
        threading.Thread(target=self.run, args=(self.down,), daemon=True).start()

    def run(self, direction):
        try:
            direction()
        except OSError:
            pass
        while self.pending:
            time.sleep(0.01)
        self.end()

    def end(self):
        with lock:
            connections.discard(self)
        for sock in (self.client, self.server):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def up(self):
        """From the provider to the server."""
        while record := record_of(self.client):
            if blocked:
                return
            if record[0] == 23 and self.is_commit_body() and not self.spoil(record):
                return
            self.server.sendall(record)

    def is_commit_body(self):
        global armed_records
        with lock:
            if armed_records is None:
                return False
            armed_records += 1
            return armed_records == 2

    def spoil(self, record):
        """False: the connection is at its end."""
        global armed_records
        armed_records = None
        what = words()
        if what[0] == "late":
            self.pending += 1
            done("late")
            time.sleep(int(what[1]) / 1000)
            self.server.sendall(record)
            time.sleep(0.5)
            print("it has come", flush=True)
            self.pending -= 1
            return False
        if what[0] == "half":
            self.server.sendall(record[: len(record) // 2])
        elif what[0] == "unanswered":
            self.is_lost = True
            done(what[0])
            return True
        done(what[0])
        return False

    def down(self):
        """From the server to the provider."""
        while data := self.server.recv(65536):
            if self.look() and not self.is_lost:
                self.client.sendall(data)
            if blocked:
                return

    def look(self):
        """What is to be done before this answer; False: it is lost."""
        global armed_records, blocked
        what = words()
        if what[0] in ("late", "half", "never", "unanswered"):
            if armed_records is None and is_there("armed"):
                armed_records = 0
        elif what[0] == "kill" and is_there(what[1]):
            os.kill(int(what[2]), signal.SIGKILL)
            done("kill")
        elif what[0] in ("gone", "deaf") and is_there(what[1]):
            blocked = True
            done(what[0])
            return what[0] == "gone"
        return True


def main():
    global blocked, armed_records
    listener = socket.create_server(("127.0.0.1", listen_port))
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        if blocked and words()[0] != "done":
            blocked, armed_records = False, None
        if blocked:
            client.close()
            continue
        try:
            Connection(client).start()
        except OSError:
            client.close()


main()
