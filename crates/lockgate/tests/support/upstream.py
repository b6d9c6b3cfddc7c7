"""A small MCP server over stdio for tests, without dependencies.

`echo` answers its text, `note` appends the first letter of its text to a file (arguments: path, text), `hold` answers when somebody has
written to and closed the named pipe it is given: whoever opens that pipe knows that the call has arrived.
"""

import json
import sys
import threading

TEXT = {"type": "string"}
TOOLS = {
    "echo": {"text": TEXT},
    "note": {"path": TEXT, "text": TEXT},
    "hold": {"pipe": TEXT},
    "danger": {},
}
writing = threading.Lock()


def answer(request, result):
    with writing:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)


def call(request, name, arguments):
    text = arguments.get("text", "")
    if name == "note":
        with open(arguments["path"], "a") as file:
            file.write(text[:1] + "\n")
    if name == "hold":
        with open(arguments["pipe"]) as pipe:
            text = pipe.read()
    answer(request, {"content": [{"type": "text", "text": text}]})


def schema(properties):
    return {"type": "object", "properties": properties, "required": sorted(properties)}


for line in sys.stdin:
    request = json.loads(line)
    method, params = request.get("method"), request.get("params", {})
    if "id" not in request:
        continue
    if method == "initialize":
        answer(request, {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "test", "version": "1"},
        })
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": schema(given)} for name, given in TOOLS.items()]
        answer(request, {"tools": tools})
    elif method == "tools/call":
        threading.Thread(target=call, args=(request, params["name"], params["arguments"]), daemon=True).start()
    else:
        with writing:
            error = {"code": -32601, "message": "unknown method"}
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}), flush=True)
