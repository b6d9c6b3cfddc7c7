"""A channel as a chat tool's adapter would be one: it checks what it is told, and signs what it answers.

Written after the specification of Standard Webhooks, with the standard library alone.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import sys
import time
import urllib.error
import urllib.request


def key(secret):
    return base64.b64decode(secret.removeprefix("whsec_"))


def signature(secret, identity, timestamp, body):
    signed = b"%s.%s.%s" % (identity.encode(), timestamp.encode(), body)
    return "v1," + base64.b64encode(hmac.new(key(secret), signed, hashlib.sha256).digest()).decode()


def listen(port, secret, directory):
    """Answers what the file `status` says, and keeps every message as a line of `messages`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            identity, timestamp = self.headers["webhook-id"], self.headers["webhook-timestamp"]
            wanted = signature(secret, identity, timestamp, body)
            given = self.headers["webhook-signature"].split(" ")
            status = int(open(os.path.join(directory, "status")).read())
            message = {
                "is_signed": any(hmac.compare_digest(wanted, one) for one in given),
                "signatures": len(given),
                "is_fresh": abs(time.time() - int(timestamp)) < 60,
                "id": identity,
                "path": self.path,
                "status": status,
                "body": json.loads(body),
            }
            with open(os.path.join(directory, "messages"), "a") as messages:
                messages.write(json.dumps(message) + "\n")
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


def send(url, secret, identity, age, body):
    timestamp = str(int(time.time()) - int(age))
    data = body.encode()
    headers = {
        "content-type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1,bm9uZQ== " + signature(secret, identity, timestamp, data),
    }
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            status, said = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, said = error.code, error.read()
    print(json.dumps({"status": status, "said": json.loads(said)}))


if __name__ == "__main__":
    {"listen": listen, "send": send}[sys.argv[1]](*sys.argv[2:])
