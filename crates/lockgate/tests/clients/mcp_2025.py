"""Talks to a server with PyPI's mcp 1.x, which opens with initialize (2025-11-25).

    mcp_2025.py PLAN

PLAN is JSON: `url` with `token`, or `command`; and `calls`, each a name and its arguments. Prints what it saw as
JSON: `version`, `tools`, `results`. With `shows` it declares elicitation, prints each address that it is shown as
`shown`, and accepts.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

import httpx
from mcp import ClientSession, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult


@asynccontextmanager
async def streams(plan):
    if "command" in plan:
        program, *arguments = plan["command"]
        async with stdio_client(StdioServerParameters(command=program, args=arguments)) as (read, write):
            yield read, write
        return
    headers = {"Authorization": f"Bearer {plan['token']}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        async with streamable_http_client(plan["url"], http_client=http) as (read, write, _):
            yield read, write


async def show(context, params):
    print(json.dumps({"shown": params.url, "says": params.message}), flush=True)
    return ElicitResult(action="accept")


async def main(plan):
    shows = show if plan.get("shows") else None
    async with (
        streams(plan) as (read, write),
        ClientSession(read, write, elicitation_callback=shows) as session,
    ):
        opened = await session.initialize()
        tools = (await session.list_tools()).tools
        results = [await session.call_tool(name, arguments) for name, arguments in plan["calls"]]
        seen = {
            "version": opened.protocolVersion,
            "tools": [tool.name for tool in tools],
            "results": [result.model_dump(mode="json", by_alias=True) for result in results],
        }
    print(json.dumps(seen))


asyncio.run(main(json.loads(sys.argv[1])))
