"""Sends the requests of the web page over HTTP, and those that a page of others would send."""

from __future__ import annotations

import http.client
import json

from web_page import PASSWORD

OWN = {"Content-Type": "application/json", "X-Boardwarden": "1"}


class Client:
    """Sends requests as a browser on the page does, with its cookie."""

    def __init__(self, url, port):
        self.place = f"127.0.0.1:{port}"
        self.origin = url.rstrip("/")
        self.cookie = ""
        self.headers = {}

    def send(self, method, path, body=None, **changed):
        """Return (status, headers, JSON or text); `changed` headers: None leaves one out."""
        connection = http.client.HTTPConnection(self.place, timeout=20)
        headers = {**({} if method == "GET" else {**OWN, "Origin": self.origin})}
        if self.cookie:
            headers["Cookie"] = self.cookie
        headers.update({name.replace("_", "-"): value for name, value in changed.items()})
        data = json.dumps(body) if isinstance(body, dict) else body
        known = {name: value for name, value in headers.items() if value is not None}
        connection.request(method, path, data, known)
        answer = connection.getresponse()
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            found = b""
            while b"event:" not in found and (piece := answer.read1(4096)):
                found += piece
            connection.close()
            return answer.status, answer.headers, found.decode()
        text = answer.read().decode()
        connection.close()
        if set_cookie := answer.headers.get("set-cookie"):
            self.cookie = set_cookie.partition(";")[0]
        is_json = answer.headers.get("content-type") == "application/json"
        return answer.status, answer.headers, json.loads(text) if is_json else text

    def get(self, path, **changed):
        return self.send("GET", path, **changed)

    def post(self, path, body, **changed):
        return self.send("POST", path, body, **changed)

    def login(self, name, password=PASSWORD):
        return self.post("/api/login", {"name": name, "password": password})
