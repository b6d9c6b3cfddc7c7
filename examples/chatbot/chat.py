"""The chat in which answers are said: a small tool server (MCP over stdio), without dependencies.

It trusts whoever starts it, and knows nothing of the gate in front of it. What is said goes into a file.
"""

import json
import sys

TEXT = {"type": "string"}
SOURCE = {"type": "object", "properties": {"document": TEXT, "quote": TEXT}, "required": ["document", "quote"]}
SAY = {
    "name": "say",
    "description": "Say something in the chat, with what it rests on.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": TEXT, "sources": {"type": "array", "items": SOURCE}},
        "required": ["text", "sources"],
    },
}


def result(request):
    method, params = request["method"], request.get("params", {})
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "chat", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [SAY]}
    if method == "tools/call":
        with open(sys.argv[1], "a", encoding="utf-8") as chat:
            chat.write(params["arguments"]["text"] + "\n")
        return {"content": [{"type": "text", "text": "said"}]}
    return None


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    answer = {"jsonrpc": "2.0", "id": request["id"]}
    came = result(request)
    if came is None:
        answer["error"] = {"code": -32601, "message": "unknown method"}
    else:
        answer["result"] = came
    print(json.dumps(answer), flush=True)
