"""An MCP server over stdio whose resources are what a file says at the moment: `resources`, each with its `text` or `blob`."""

import json
import sys


def say(request, **what):
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **what}), flush=True)


def resources():
    with open(sys.argv[1]) as file:
        return json.load(file)


for line in sys.stdin:
    request = json.loads(line)
    method, params = request.get("method"), request.get("params", {})
    if "id" not in request:
        continue
    if method == "initialize":
        say(request, result={
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"resources": {}},
            "serverInfo": {"name": "library", "version": "1"},
        })
    elif method == "resources/list":
        # A page each.
        all, at = resources(), int(params.get("cursor", 0))
        listed = [{k: v for k, v in it.items() if k not in ("text", "blob")} for it in all[at:at + 1]]
        more = {"nextCursor": str(at + 1)} if at + 1 < len(all) else {}
        say(request, result={"resources": listed, **more})
    elif method == "resources/read":
        found = [it for it in resources() if it["uri"] == params["uri"] and ("text" in it or "blob" in it)]
        if found:
            members = ("uri", "mimeType", "text", "blob")
            say(request, result={"contents": [{k: found[0][k] for k in members if k in found[0]}]})
        else:
            say(request, error={"code": -32002, "message": "no such resource"})
    else:
        say(request, error={"code": -32601, "message": "unknown method"})
