"""The OpenAI Agents SDK, over the Responses API in events and over chat completions."""

import asyncio
import json
import sys

from agents import (
    Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, set_tracing_disabled,
)
from agents.mcp import MCPServerStreamableHttp
from openai import AsyncOpenAI

PLAN = json.loads(sys.argv[1])


async def converse(agent, api, prompt):
    if api == "responses in events":
        run = Runner.run_streamed(agent, prompt)
        async for _ in run.stream_events():
            pass
        return run.final_output
    return (await Runner.run(agent, prompt)).final_output


async def main():
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=PLAN["model"] + "/v1", api_key=PLAN["token"])
    headers = {"Authorization": f"Bearer {PLAN['token']}"}
    server = MCPServerStreamableHttp({"url": PLAN["mcp"], "headers": headers})
    models = {"chat": OpenAIChatCompletionsModel, "responses in events": OpenAIResponsesModel}
    answers = {}
    async with server:
        for api, kind in models.items():
            model = kind(model="large", openai_client=client)
            agent = Agent(name="agent", model=model, mcp_servers=[server])
            answers[api] = [await converse(agent, api, prompt) for prompt in PLAN["prompts"]]
    print(json.dumps(answers))


asyncio.run(main())
