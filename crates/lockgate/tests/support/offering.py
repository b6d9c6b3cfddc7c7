"""An MCP server over stdio that offers what a file says, as it is when the server starts: `instructions`, `tools`, `prompts`."""

import json
import sys

with open(sys.argv[1]) as file:
    OFFER = json.load(file)


def say(request, **what):
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **what}), flush=True)


for line in sys.stdin:
    request = json.loads(line)
    method, params = request.get("method"), request.get("params", {})
    if "id" not in request:
        continue
    if method == "initialize":
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}, "prompts": {}},
            "serverInfo": {"name": "offering", "version": "1"},
        }
        if OFFER.get("instructions"):
            result["instructions"] = OFFER["instructions"]
        say(request, result=result)
    elif method == "tools/list":
        say(request, result={"tools": OFFER["tools"]})
    elif method == "prompts/list":
        say(request, result={"prompts": OFFER.get("prompts", [])})
    elif method == "prompts/get":
        text = {"type": "text", "text": "prompt"}
        say(request, result={"messages": [{"role": "user", "content": text}]})
    elif method == "tools/call":
        say(request, result={"content": [{"type": "text", "text": "done by " + params["name"]}]})
    else:
        say(request, error={"code": -32601, "message": "unknown method"})
