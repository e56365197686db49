# SPDX-License-Identifier: Apache-2.0
"""A person at a browser, as far as quickstart and the tests need one, with Python's standard library alone.

Visitor signs in and keeps cookies; open() clicks an application and waits until the desktop is there; Stream speaks
RFB 3.8 (RFC 6143) over the gateway's WebSocket (RFC 6455): it reads the screen, and presses keys.
"""
import base64
import hashlib
import http.client
import http.cookies
import json
import os
import socket
import struct
import time


class Refused(Exception):
    """The gateway's answer was not what the step needs; says which."""


class Response:
    def __init__(self, raw, body):
        self.status, self.headers, self.body = raw.status, raw.headers, body

    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)


class Visitor:
    """One browser (or, with page=False, one API client) of one user."""

    def __init__(self, site, user=None, password=None, base="/apps/", page=True, timeout=15):
        self.site, self.base, self.page, self.timeout = site, base, page, timeout
        self.address, port = site.rsplit(":", 1)
        self.port = int(port)
        self.authorization = None
        if user is not None:
            self.authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.cookies = {}  # (path, name): value

    def headers(self, path, extra=None):
        headers = {"Host": self.site}
        if self.authorization:
            headers["Authorization"] = self.authorization
        if self.page:
            headers["Accept"] = "text/html,*/*"
            headers["Sec-Fetch-Site"] = "same-origin"
        cookies = [f"{name}={value}" for (prefix, name), value in self.cookies.items() if path.startswith(prefix)]
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        headers.update(extra or {})
        return {name: value for name, value in headers.items() if value is not None}

    def keep_cookies(self, raw, path):
        for line in raw.headers.get_all("Set-Cookie") or []:
            for name, morsel in http.cookies.SimpleCookie(line).items():
                key = (morsel["path"] or path.rsplit("/", 1)[0] + "/", name)
                if morsel["max-age"] == "0":
                    self.cookies.pop(key, None)
                else:
                    self.cookies[key] = morsel.value

    def request(self, method, path, headers=None, body=None):
        connection = http.client.HTTPConnection(self.address, self.port, timeout=self.timeout)
        try:
            connection.request(method, path, body=body, headers=self.headers(path, headers))
            raw = connection.getresponse()
            self.keep_cookies(raw, path)
            return Response(raw, raw.read())
        finally:
            connection.close()

    def get(self, path, follow=5, headers=None):
        answer = self.request("GET", path, headers)
        while follow and answer.status in (301, 302, 303, 307, 308):
            path = answer.headers["Location"]
            if path.startswith("http"):
                path = "/" + path.split("/", 3)[3]
            answer = self.request("GET", path, headers)
            follow -= 1
        return answer

    def open(self, app, limit=120):
        """Click, and wait until the session is there. Returns the seconds it took and whether it had to wait."""
        began = time.monotonic()
        path = f"{self.base}{app}/"
        answer = self.get(path)
        if answer.status not in (200, 202, 503):
            raise Refused(f"GET {path}: status {answer.status}: {answer.text()[:300]}")
        waited = False
        while True:
            state = self.wait(app)
            if state.get("state") == "ready":
                return time.monotonic() - began, waited
            if state.get("state") not in ("waiting", "down", "broken"):
                raise Refused(f"{path}: {json.dumps(state)}")
            waited = True
            if time.monotonic() - began > limit:
                raise Refused(f"{path}: still waiting after {limit} s: {json.dumps(state)}")
            time.sleep(0.2)

    def wait(self, app):
        answer = self.request("GET", f"{self.base}{app}/.persona/wait", {"Accept": "application/json"})
        try:
            return answer.json()
        except ValueError:
            raise Refused(f"{app}/.persona/wait: status {answer.status}: {answer.text()[:300]}") from None

    def state(self, app):
        return self.request("GET", f"{self.base}{app}/.persona/state", {"Accept": "application/json"}).json()

    def end(self, app):
        return self.request("POST", f"{self.base}{app}/.persona/end", {"Accept": "application/json"}, body=b"")

    def status(self):
        """The status document, for an administrator."""
        answer = self.request("GET", "/persona-status", {"Accept": "application/json"})
        if answer.status != 200:
            raise Refused(f"/persona-status: status {answer.status}: {answer.text()[:300]}")
        return answer.json()

    def stream(self, app, **more):
        return Stream(WebSocket(self, f"{self.base}{app}/.persona/stream", **more))


class WebSocket:
    """The client's side of one WebSocket; recv() gives bytes of the stream, whatever its frames."""

    def __init__(self, visitor, path, origin=True, protocol="binary", extra=None):
        key = base64.b64encode(os.urandom(16)).decode()
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key,
                   "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": protocol, "Accept": None,
                   "Origin": f"http://{visitor.site}" if origin is True else origin}
        headers.update(extra or {})
        headers = visitor.headers(path, headers)
        self.socket = socket.create_connection((visitor.address, visitor.port), visitor.timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [f"GET {path} HTTP/1.1"] + [f"{name}: {value}" for name, value in headers.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(4096)
            if not data:
                break
            head += data
        head, _, self.rest = head.partition(b"\r\n\r\n")
        status = head.split(b"\r\n")[0].decode("latin-1")
        expected = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
        if " 101 " not in status + " ":
            self.socket.close()
            raise Refused(f"{path}: {status}")
        if expected.lower() not in head.lower():
            raise Refused(f"{path}: Sec-WebSocket-Accept is wrong")
        self.data, self.closed = b"", None

    def frame(self):
        """Reads one frame; its payload goes to self.data."""
        head = self.exactly(2)
        opcode, length = head[0] & 15, head[1] & 127
        if length == 126:
            length = struct.unpack(">H", self.exactly(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.exactly(8))[0]
        payload = self.exactly(length)
        if opcode == 8:
            self.closed = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
            raise EOFError(f"the stream was closed with code {self.closed}")
        if opcode == 9:
            self.send(payload, 10)
        elif opcode in (0, 1, 2):
            self.data += payload

    def exactly(self, count):
        while len(self.rest) < count:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the stream was cut")
            self.rest += data
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def recv(self, count):
        while len(self.data) < count:
            self.frame()
        data, self.data = self.data[:count], self.data[count:]
        return data

    def send(self, payload, opcode=2):
        mask = os.urandom(4)
        length = len(payload)
        head = bytes([0x80 | opcode])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 65536:
            head += bytes([0xFE]) + struct.pack(">H", length)
        else:
            head += bytes([0xFF]) + struct.pack(">Q", length)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.socket.sendall(head + mask + masked)

    def close(self):
        try:
            self.send(struct.pack(">H", 1000), 8)
        except OSError:
            pass
        self.socket.close()


class Stream:
    """A screen: RFB 3.8 without authentication, raw rectangles of 32 bits a pixel."""

    def __init__(self, channel):
        self.channel = channel
        version = channel.recv(12)
        if not version.startswith(b"RFB "):
            raise Refused(f"not an RFB stream: {version!r}")
        channel.send(b"RFB 003.008\n")
        count = channel.recv(1)[0]
        kinds = channel.recv(count) if count else b""
        if 1 not in kinds:
            raise Refused(f"the screen wants authentication: security types {list(kinds)}")
        channel.send(b"\x01")
        if struct.unpack(">I", channel.recv(4))[0]:
            raise Refused("the screen refused the connection")
        channel.send(b"\x01")  # shared
        self.width, self.height = struct.unpack(">HH", channel.recv(4))
        channel.recv(16)
        self.name = channel.recv(struct.unpack(">I", channel.recv(4))[0]).decode("utf-8", "replace")
        # 32 bits, little endian, true colour; encodings: raw only
        channel.send(struct.pack(">Bxxx", 0) + struct.pack(">BBBBHHHBBBxxx", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        channel.send(struct.pack(">BxHi", 2, 1, 0))
        self.screen = bytearray(self.width * self.height * 4)

    def update(self, incremental=False):
        """Asks for the screen (or what changed of it) and reads one update into self.screen."""
        self.channel.send(struct.pack(">BBHHHH", 3, int(incremental), 0, 0, self.width, self.height))
        while True:
            kind = self.channel.recv(1)[0]
            if kind == 0:
                break
            if kind == 1:
                self.channel.recv(3)
                self.channel.recv(6 * struct.unpack(">H", self.channel.recv(2))[0])
            elif kind == 3:
                self.channel.recv(3)
                self.channel.recv(struct.unpack(">I", self.channel.recv(4))[0])
            elif kind != 2:
                raise Refused(f"unknown RFB message {kind}")
        self.channel.recv(1)
        for _ in range(struct.unpack(">H", self.channel.recv(2))[0]):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.channel.recv(12))
            if encoding:
                raise Refused(f"unasked encoding {encoding}")
            data = self.channel.recv(width * height * 4)
            for row in range(height):
                at = ((y + row) * self.width + x) * 4
                self.screen[at:at + width * 4] = data[row * width * 4:(row + 1) * width * 4]

    def colors(self):
        """How many different colours the screen has: a blank one has one."""
        return len(set(struct.unpack(f"<{self.width * self.height}I", self.screen)))

    def painted(self, limit=30):
        """Waits until the screen is not blank."""
        end = time.monotonic() + limit
        self.update()
        while self.colors() < 2:
            if time.monotonic() > end:
                raise Refused(f"the screen is still blank after {limit} s")
            self.update(True)

    def key(self, keysym):
        for down in (1, 0):
            self.channel.send(struct.pack(">BBxxI", 4, down, keysym))

    def type(self, text):
        for char in text:
            self.key(0xFF0D if char == "\n" else ord(char))

    def close(self):
        self.channel.close()
