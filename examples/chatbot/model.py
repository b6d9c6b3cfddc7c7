"""What the example has instead of a model: it copies sentences, the same each time, over the API of chat completions.

It gets what any model would get, and nothing else: instructions, numbered sources, a question. So no key is needed.
"""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

BODY_BYTES_MAX = 4 << 20
# Sentences of one answer.
SENTENCES_MAX = 3
# Words that say nothing of what is asked.
COMMON = set(
    "a about an and any are as at be by can do does for from has have how i if in is it its me much my no not of on or our"
    " so than that the their there they this to was we what when where which who whom why will with you your".split()
)


def stems(text):
    """Words, without what is common and without endings, roughly."""
    words = re.findall(r"[\w']+", text.lower())
    words = [word for word in words if word not in COMMON]
    return {re.sub(r"(ies|es|s|ing|ed|al)$", "", word) if len(word) > 4 else word for word in words}


def sentences(text):
    """Sentences of prose: headings, tables and code are none. A line that begins small goes on with the one before."""
    for paragraph in re.sub(r"\n(?=[a-z])", " ", text).split("\n"):
        if not paragraph.lstrip().startswith(("#", "|", "//")):
            for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
                if len(sentence) >= 20 and not re.search(r'["\[{}]|=>|;$', sentence):
                    yield sentence


def sources(prompt):
    """The numbered sources of a prompt: number, title and text of each."""
    for block in re.split(r"\n(?=\[\d+\] )", prompt):
        head = re.match(r"\[(\d+)\] (.*)", block)
        if head:
            lines = block[head.end():].splitlines()
            text = "\n".join(line[2:] for line in lines if line.startswith("| "))
            yield int(head[1]), head[2], text.replace("\n|", "\n")


def answer(prompt):
    question = re.search(r"^Question: (.*)$", prompt, re.MULTILINE)
    wanted = stems(question[1]) if question else set()
    found = []
    for number, title, text in sources(prompt):
        best = max(sentences(text), key=lambda it: (len(stems(it) & wanted), -len(it)), default=None)
        if best:
            found.append((len(stems(best) & wanted), -number, best))
    found.sort(reverse=True)
    enough = max((score for score, _, _ in found), default=0)
    kept = [it for it in found if it[0] >= 2 and it[0] * 2 > enough][:SENTENCES_MAX]
    if not kept:
        return "Nothing in the sources answers that."
    return " ".join(f'"{sentence}" [{-number}]' for _, number, sentence in kept)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        asked = json.loads(self.rfile.read(size)) if size <= BODY_BYTES_MAX else {"messages": []}
        prompt = "\n".join(it["content"] for it in asked["messages"] if isinstance(it["content"], str))
        message = {"role": "assistant", "content": answer(prompt)}
        body = json.dumps({
            "id": "chatcmpl-copies",
            "object": "chat.completion",
            "created": 0,
            "model": "copies",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": len(prompt) // 4, "completion_tokens": 60, "total_tokens": len(prompt) // 4 + 60},
        }).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start():
    """Begins to answer at a free port, and gives the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1"
