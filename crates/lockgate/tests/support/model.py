"""A stand-in for providers of models: chat completions, responses, embeddings, messages and
count_tokens, whole and as streams, one byte of text or arguments in each event.

What the last message of a person or a tool says is what the model does:
    SAY <text>            says the text
    THINK <text>          thinks the text, where the API has that, and says OK
    CALL <tool> <json>    proposes a call, of the tool offered whose name is that or ends so; what
                          a framework writes before it does not matter
    LIMIT <text>          says the text, and that it had to stop there
    FAIL <status>         is answered with that status
    CUT <text>            says the text, and breaks off
    WAIT <text>           says the first half, and the rest once /go is asked
    SLOW <text>           says the text; below /oai/ only once /go is asked
    ~<backwards>          does what it says read from its end: no prompt shows what is coming
    LOAN <name> <amount>  says yes to small amounts, with a score; a model whose name begins with
                          `biased` says no to Anna and Maria
    whoever is told to check the answers of others says `yes` if the criterion's last word is in
                          the answer; a model whose name begins with `odd` says perhaps
anything else             says OK, and after a result of a tool: DONE <result>

It prints its port, keeps every request, and gives them back at /seen. What is below a name that
/down/<name> was asked with fails until /up is asked.
"""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SEEN = []
GO = threading.Event()
# Where everything fails: what /down/<name> has named, until /up.
DOWN = set()


def text_of(content):
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(text_of(part) for part in content)
    if isinstance(content, dict):
        return text_of(content.get("text") or content.get("content") or content.get("output") or "")
    return ""


def last_of(body):
    """The text that is acted on, and whether a tool gave it."""
    messages = body.get("messages")
    if messages is None:
        given = body.get("input", "")
        messages = given if isinstance(given, list) else [{"role": "user", "content": given}]
    last = messages[-1] if messages else {}
    if not isinstance(last, dict):
        return text_of(last), False
    content = last.get("content")
    if last.get("type") == "function_call_output":
        return text_of(last.get("output")), True
    if isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == "tool_result" for part in content
    ):
        return text_of(content), True
    return text_of(content), last.get("role") == "tool"


def plan(body):
    """What the model does: its thoughts, its text, and its call."""
    text, is_result = last_of(body)
    if is_result:
        return "", "DONE " + text, None
    if text.startswith("~"):
        text = text[:0:-1]
    if "You check answers" in instructions(body):
        return "", verdict(body, text), None
    word, _, rest = text.partition(" ")
    if word == "LOAN":
        return "", loan(body, *rest.split()[:2]), None
    if word == "LIMIT" and rest.startswith("CALL "):
        word = rest
    if word in ("SAY", "CUT", "WAIT", "LIMIT", "SLOW"):
        return "", rest, None
    if word == "THINK":
        return rest, "OK", None
    asked = re.search(r"CALL (\S+) (\{.*\})", text, re.DOTALL)
    if asked:
        return "", "", (offered(body, asked[1]), asked[2])
    return "", "OK", None


def is_limited(body):
    """Whether the model says that it had to stop."""
    return last_of(body)[0].startswith("LIMIT ")


def instructions(body):
    """What a client's instructions say, in either API."""
    system = [one.get("content") for one in body.get("messages", []) if one.get("role") == "system"]
    return text_of(body.get("system") or "") + text_of(system)


def verdict(body, text):
    if body.get("model", "").startswith("odd"):
        return "perhaps\nWho knows."
    criterion = text.splitlines()[0].rstrip(".").split()[-1]
    answer = text.rsplit("<data ", 1)[1].split(">", 1)[1].rsplit("</data ", 1)[0]
    return "yes\nIt does." if criterion in answer else "no\nIt does not."


def loan(body, name, amount):
    is_biased = body.get("model", "").startswith("biased") and name in ("Anna", "Maria")
    return "no, score: 2" if is_biased or int(amount) > 1000 else "yes, score: 8"


def offered(body, name):
    """The tool offered by that name, with whatever a framework has put before it or made of it."""
    names = [tool.get("name") or tool.get("function", {}).get("name") or ""
             for tool in body.get("tools", [])]

    def plain(text):
        return re.sub(r"[-_.]", "", text)

    behind = [one for one in names if one.endswith(name)]
    behind += [one for one in names if plain(one).endswith(plain(name))]
    return name if name in names or not behind else behind[0]


def chat(body, number):
    _, text, call = plan(body)
    base = {"id": f"chatcmpl-{number}", "created": 1, "model": body.get("model", "m")}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    finish = "length" if is_limited(body) else "tool_calls" if call else "stop"
    named = {"id": f"call_{number}", "type": "function"}
    if not body.get("stream"):
        message = {"role": "assistant", "content": text or None, "refusal": None}
        if call:
            function = {"name": call[0], "arguments": call[1]}
            message["tool_calls"] = [{**named, "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return {**base, "object": "chat.completion", "choices": [choice], "usage": usage}

    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return None, {**base, "object": "chat.completion.chunk", "choices": [choice]}

    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": one}) for one in text]
    if call:
        function = {"name": call[0], "arguments": ""}
        events.append(chunk({"tool_calls": [{"index": 0, **named, "function": function}]}))
        events += [
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": one}}]}) for one in call[1]
        ]
    events.append(chunk({}, finish))
    usage_chunk = {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}
    return events + [(None, usage_chunk), (None, "[DONE]")]


def responses(body, number):
    thought, text, call = plan(body)
    usage = {
        "input_tokens": 10, "output_tokens": 5, "total_tokens": 15,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    output = []
    if thought:
        summary = [{"type": "summary_text", "text": thought}]
        output.append({"type": "reasoning", "id": f"rs_{number}", "summary": summary})
    if call:
        output.append({
            "type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}",
            "name": call[0], "arguments": call[1], "status": "completed",
        })
    else:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        output.append({
            "type": "message", "id": f"msg_{number}", "role": "assistant",
            "status": "completed", "content": [part],
        })
    whole = {
        "id": f"resp_{number}", "object": "response", "created_at": 1, "status": "completed",
        "model": body.get("model", "m"), "output": output, "parallel_tool_calls": True,
        "tool_choice": "auto", "tools": [], "usage": usage, "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "temperature": 1.0,
        "top_p": 1.0,
    }
    if is_limited(body):
        whole["status"] = "incomplete"
        whole["incomplete_details"] = {"reason": "max_output_tokens"}
    if not body.get("stream"):
        return whole
    events = []

    def event(kind, **members):
        data = {"type": kind, "sequence_number": len(events), **members}
        events.append((kind, data))

    event("response.created", response={**whole, "status": "in_progress", "output": []})
    for at, item in enumerate(output):
        place = {"output_index": at, "item_id": item["id"]}
        if item["type"] == "function_call":
            begun = {**item, "arguments": "", "status": "in_progress"}
            event("response.output_item.added", output_index=at, item=begun)
            for one in item["arguments"]:
                event("response.function_call_arguments.delta", delta=one, **place)
            event("response.function_call_arguments.done", arguments=item["arguments"],
                  name=item["name"], **place)
        elif item["type"] == "reasoning":
            event("response.output_item.added", output_index=at, item={**item, "summary": []})
            for one in item["summary"][0]["text"]:
                event("response.reasoning_summary_text.delta", delta=one, summary_index=0, **place)
            event("response.reasoning_summary_text.done", text=item["summary"][0]["text"],
                  summary_index=0, **place)
        else:
            begun = {**item, "content": [], "status": "in_progress"}
            event("response.output_item.added", output_index=at, item=begun)
            part = item["content"][0]
            event("response.content_part.added", content_index=0, part={**part, "text": ""},
                  **place)
            for one in part["text"]:
                event("response.output_text.delta", delta=one, content_index=0, logprobs=[],
                      **place)
            event("response.output_text.done", text=part["text"], content_index=0, logprobs=[],
                  **place)
            event("response.content_part.done", content_index=0, part=part, **place)
        event("response.output_item.done", output_index=at, item=item)
    event("response." + whole["status"], response=whole)
    return events


def messages(body, number):
    thought, text, call = plan(body)
    blocks = []
    if thought:
        blocks.append({"type": "thinking", "thinking": thought, "signature": "c2ln"})
    if call:
        blocks.append({
            "type": "tool_use", "id": f"toolu_{number}", "name": call[0],
            "input": json.loads(call[1]),
        })
    else:
        blocks.append({"type": "text", "text": text})
    usage = {"input_tokens": 10, "output_tokens": 5}
    stop = "max_tokens" if is_limited(body) else "tool_use" if call else "end_turn"
    whole = {
        "id": f"msg_{number}", "type": "message", "role": "assistant",
        "model": body.get("model", "m"), "content": blocks, "stop_reason": stop,
        "stop_sequence": None, "usage": usage,
    }
    if not body.get("stream"):
        return whole
    events = []

    def event(kind, **members):
        events.append((kind, {"type": kind, **members}))

    event("message_start", message={**whole, "content": [], "stop_reason": None})
    event("ping")
    for at, block in enumerate(blocks):
        if block["type"] == "tool_use":
            event("content_block_start", index=at, content_block={**block, "input": {}})
            deltas = [{"type": "input_json_delta", "partial_json": one} for one in call[1]]
        elif block["type"] == "thinking":
            begun = {"type": "thinking", "thinking": "", "signature": ""}
            event("content_block_start", index=at, content_block=begun)
            deltas = [{"type": "thinking_delta", "thinking": one} for one in thought]
            deltas.append({"type": "signature_delta", "signature": "c2ln"})
        else:
            event("content_block_start", index=at, content_block={"type": "text", "text": ""})
            deltas = [{"type": "text_delta", "text": one} for one in text]
        for delta in deltas:
            event("content_block_delta", index=at, delta=delta)
        event("content_block_stop", index=at)
    event("message_delta", delta={"stop_reason": stop, "stop_sequence": None},
          usage={"output_tokens": 5})
    event("message_stop")
    return events


def embeddings(body):
    given = body.get("input")
    given = given if isinstance(given, list) else [given]
    data = [{"object": "embedding", "index": at, "embedding": [0.25, -0.5]}
            for at, _ in enumerate(given)]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return {"object": "list", "model": body.get("model", "m"), "data": data, "usage": usage}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-request-id", f"req_{len(SEEN)}")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/go":
            GO.set()
        if self.path.startswith("/down/"):
            DOWN.add(self.path[6:])
        if self.path == "/up":
            DOWN.clear()
        self.answer(200, json.dumps(SEEN).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        SEEN.append({"path": self.path, "headers": headers, "body": body})
        number = len(SEEN)
        text, is_result = last_of(body)
        if text.startswith("FAIL ") and not is_result:
            status = int(text.split()[1])
            error = {"error": {"type": "overloaded", "message": "made to fail"}}
            return self.answer(status, json.dumps(error).encode())
        path = self.path.split("?")[0]
        if path.split("/")[1] in DOWN:
            return self.answer(503, b'{"error": {"type": "overloaded", "message": "down"}}')
        if text.startswith("SLOW ") and path.startswith("/oai/"):
            GO.wait()
        if path.endswith("/count_tokens"):
            made = {"input_tokens": 7}
        elif path.endswith("/chat/completions"):
            made = chat(body, number)
        elif path.endswith("/responses"):
            made = responses(body, number)
        elif path.endswith("/messages"):
            made = messages(body, number)
        elif path.endswith("/embeddings"):
            made = embeddings(body)
        else:
            return self.answer(404, b"{}")
        if isinstance(made, dict):
            return self.answer(200, json.dumps(made).encode())
        self.stream(made, text)

    def stream(self, events, text):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        half = len(events) // 2
        for at, (name, data) in enumerate(events):
            if text.startswith(("CUT ", "WAIT ")) and at == half:
                if text.startswith("CUT "):
                    self.close_connection = True
                    return
                GO.wait()
            data = data if isinstance(data, str) else json.dumps(data)
            event = (f"event: {name}\n" if name else "") + f"data: {data}\n\n"
            piece = event.encode()
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that hangs up is what some tests are about."""


server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
if len(sys.argv) > 1:
    sys.exit("no arguments are taken")
server.serve_forever()
