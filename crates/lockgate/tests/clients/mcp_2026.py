"""Talks to a server with PyPI's mcp 2.x, which opens with server/discover (2026-07-28).

    mcp_2026.py PLAN

PLAN is JSON: `url` with `token`, or `command`; and `calls`, each a name and its arguments. Prints what it saw as
JSON: `version`, `tools`, `results`. With `shows` it declares elicitation, prints each address that it is shown as
`shown`, and accepts. The Client negotiates by itself.
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult


def transport(plan):
    if "command" in plan:
        program, *arguments = plan["command"]
        return stdio_client(StdioServerParameters(command=program, args=arguments))
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {plan['token']}"}, timeout=60)
    return streamable_http_client(plan["url"], http_client=http)


async def show(context, params):
    print(json.dumps({"shown": params.url, "says": params.message}), flush=True)
    return ElicitResult(action="accept")


async def main(plan):
    shows = show if plan.get("shows") else None
    async with Client(transport(plan), elicitation_callback=shows) as client:
        tools = (await client.list_tools()).tools
        results = [await client.call_tool(name, arguments) for name, arguments in plan["calls"]]
        seen = {
            "version": client.protocol_version,
            "tools": [tool.name for tool in tools],
            "results": [result.model_dump(mode="json", by_alias=True) for result in results],
        }
    print(json.dumps(seen))


asyncio.run(main(json.loads(sys.argv[1])))
