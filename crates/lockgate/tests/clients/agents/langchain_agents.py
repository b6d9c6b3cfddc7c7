"""LangChain's agents (LangGraph), over chat completions, responses and messages."""

import asyncio
import json
import sys

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_openai import ChatOpenAI

PLAN = json.loads(sys.argv[1])


async def converse(agent, prompt):
    asked = {"messages": [{"role": "user", "content": prompt}]}
    messages = []
    async for state in agent.astream(asked, stream_mode="values"):
        messages = state["messages"]
    return messages[-1].text


async def main():
    headers = {"Authorization": f"Bearer {PLAN['token']}"}
    server = {"transport": "streamable_http", "url": PLAN["mcp"], "headers": headers}
    tools = await MultiServerMCPClient({"gate": server}).get_tools()
    common = {"model": "large", "api_key": PLAN["token"]}
    openai = {**common, "base_url": PLAN["model"] + "/v1"}
    models = {
        "chat": ChatOpenAI(**openai),
        "chat in events": ChatOpenAI(**openai, streaming=True),
        "responses": ChatOpenAI(**openai, use_responses_api=True),
        "responses in events": ChatOpenAI(**openai, use_responses_api=True, streaming=True),
        "messages": ChatAnthropic(**common, base_url=PLAN["model"]),
        "messages in events": ChatAnthropic(**common, base_url=PLAN["model"], streaming=True),
    }
    answers = {}
    for api, model in models.items():
        agent = create_agent(model, tools)
        answers[api] = [await converse(agent, prompt) for prompt in PLAN["prompts"]]
    print(json.dumps(answers))


asyncio.run(main())
