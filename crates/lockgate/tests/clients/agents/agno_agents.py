"""Agno, over chat completions, responses and messages."""

import asyncio
import json
import sys

from agno.agent import Agent
from agno.models.anthropic import Claude
from agno.models.openai import OpenAIChat, OpenAIResponses
from agno.tools.mcp import MCPTools, StreamableHTTPClientParams

PLAN = json.loads(sys.argv[1])


async def main():
    headers = {"Authorization": f"Bearer {PLAN['token']}"}
    common = {"id": "large", "api_key": PLAN["token"]}
    openai = {**common, "base_url": PLAN["model"] + "/v1"}
    models = {
        "chat": OpenAIChat(**openai),
        "responses": OpenAIResponses(**openai),
        "messages": Claude(**common, client_params={"base_url": PLAN["model"]}),
    }
    answers = {}
    server = StreamableHTTPClientParams(url=PLAN["mcp"], headers=headers)
    async with MCPTools(transport="streamable-http", server_params=server) as tools:
        for api, model in models.items():
            agent = Agent(model=model, tools=[tools], telemetry=False)
            answers[api] = [(await agent.arun(prompt)).content for prompt in PLAN["prompts"]]
            streamed = answers.setdefault(api + " in events", [])
            for prompt in PLAN["prompts"]:
                text = ""
                async for event in agent.arun(prompt, stream=True):
                    text += getattr(event, "content", None) or ""
                streamed.append(text)
    print(json.dumps(answers))


asyncio.run(main())
