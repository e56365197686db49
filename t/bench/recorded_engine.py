#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""recorded_engine.py SOCKET NAMESPACE COUNT: answers on a unix socket as a dockerd with COUNT instances would, half of
them ready, half assigned; lists are as dockerd 20.10 writes them. Nothing changes, whatever is asked for."""
import http.server
import json
import os
import socketserver
import sys
import uuid

path, ns, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
uuids = [str(uuid.UUID(int=0x1234567890ab4cde8f00000000000000 + number)) for number in range(count)]


def container(number, name):
    assigned = number % 2
    return {
        "Id": f"{number:064x}", "Image": "probe:1", "ImageID": "sha256:" + "0" * 64, "Command": "/sbin/persona-init",
        "Names": [f"/persona-assigned-{name}-{uuid.uuid5(uuid.UUID(name), 's')}" if assigned else f"/persona-{name}"],
        "Created": 1700000000, "Ports": [], "State": "running", "Status": "Up 2 hours", "Mounts": [],
        "HostConfig": {"NetworkMode": "persona"},
        "Labels": {"persona.ns": ns, "persona.uuid": name, "persona.id": "desk", "persona.fingerprint": "f" * 64,
                   "persona.reason": "the pool wants one more", "persona.maker": "1234567890abcdef", "persona.network":
                   "persona", "persona.created": "1700000000000000", "persona.port": "5900", "persona.cpus": "1",
                   "persona.memory": "536870912", "persona.max-cpus": "2", "persona.max-memory": "1073741824"},
        "NetworkSettings": {"Networks": {"persona": {
            "IPAMConfig": None, "Links": None, "Aliases": None, "NetworkID": "a" * 64, "EndpointID": "b" * 64,
            "Gateway": "10.0.0.1", "IPAddress": f"10.0.{number // 250 + 1}.{number % 250 + 1}", "IPPrefixLen": 16,
            "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "MacAddress": "02:42:0a:00:00:01",
            "DriverOpts": None}}}}


def volume(name, **labels):
    return {"CreatedAt": "2026-01-01T00:00:00Z", "Driver": "local", "Labels": {"persona.ns": ns, **labels},
            "Mountpoint": f"/var/lib/docker/volumes/{name}/_data", "Name": name, "Options": {}, "Scope": "local"}


def mark(number, name):
    note = {"state": "assigned" if number % 2 else "ready", "ready_at": 1700000001000000}
    if number % 2:
        note |= {"session": "5" * 64, "user": f"person{number}", "app": "calc", "assigned_at": 1700000002000000}
    return volume(f"persona-mark-{name}.{1 + number % 2}", **{
        "persona.kind": "mark", "persona.uuid": name, "persona.id": "desk", "persona.nonce": "0" * 32,
        "persona.mark": json.dumps(note, separators=(",", ":"))})


def fence(name):
    return volume(f"persona-fence-{ns}-{name}", **{
        "persona.kind": "fence", "persona.name": name, "persona.session": "5" * 64,
        "persona.token": str(uuid.uuid5(uuid.UUID(name), "s"))})


containers = [container(number, name) for number, name in enumerate(uuids)]
LISTS = {
    "/containers/json": containers,
    "/assigned": containers[1::2],
    "/mark": {"Volumes": [mark(number, name) for number, name in enumerate(uuids)], "Warnings": None},
    "/fence": {"Volumes": [fence(name) for name in uuids[1::2]], "Warnings": None},
    "/version": {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24", "Components": []},
    "/info": {"Name": "recorded", "NCPU": 64, "MemTotal": 1 << 39, "LiveRestoreEnabled": True},
}
ANSWERS = {key: json.dumps(value).encode() for key, value in LISTS.items()}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        key = self.path.split("?")[0].removeprefix("/v1.41")
        if key == "/containers/json" and "persona-assigned" in self.path:
            key = "/assigned"
        elif key == "/volumes":
            key = "/fence" if "fence" in self.path else "/mark"
        answer = ANSWERS.get(key)
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer or b"")))
        self.end_headers()
        self.wfile.write(answer or b"")

    def log_message(self, *_):
        pass

    def address_string(self):
        return "client"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Who asked has gone."""


if os.path.exists(path):
    os.unlink(path)
Server(path, Handler).serve_forever()
