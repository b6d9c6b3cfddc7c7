"""Pydantic AI, over chat completions, responses and messages."""

import asyncio
import json
import sys

from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

PLAN = json.loads(sys.argv[1])


async def main():
    headers = {"Authorization": f"Bearer {PLAN['token']}"}
    openai = OpenAIProvider(base_url=PLAN["model"] + "/v1", api_key=PLAN["token"])
    anthropic = AnthropicProvider(base_url=PLAN["model"], api_key=PLAN["token"])
    models = {
        "chat": OpenAIChatModel("large", provider=openai),
        "responses": OpenAIResponsesModel("large", provider=openai),
        "messages": AnthropicModel("large", provider=anthropic),
    }
    answers = {}
    for api, model in models.items():
        server = MCPToolset(PLAN["mcp"], headers=headers)
        agent = Agent(model, toolsets=[server])
        async with agent:
            answers[api] = [(await agent.run(prompt)).output for prompt in PLAN["prompts"]]
            streamed = answers.setdefault(api + " in events", [])
            for prompt in PLAN["prompts"]:
                async with agent.run_stream(prompt) as run:
                    streamed.append(await run.get_output())
    print(json.dumps(answers))


asyncio.run(main())
