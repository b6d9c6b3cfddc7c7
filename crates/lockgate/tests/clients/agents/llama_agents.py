"""LlamaIndex's agents, over chat completions."""

import asyncio
import json
import sys

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

PLAN = json.loads(sys.argv[1])


async def main():
    headers = {"Authorization": f"Bearer {PLAN['token']}"}
    client = BasicMCPClient(PLAN["mcp"], headers=headers)
    tools = await McpToolSpec(client=client).to_tool_list_async()
    model = OpenAILike(
        model="large", api_base=PLAN["model"] + "/v1", api_key=PLAN["token"],
        is_chat_model=True, is_function_calling_model=True,
    )
    answers = {}
    for api, is_streaming in {"chat": False, "chat in events": True}.items():
        agent = FunctionAgent(tools=tools, llm=model, streaming=is_streaming)
        answers[api] = [str(await agent.run(user_msg=prompt)) for prompt in PLAN["prompts"]]
    print(json.dumps(answers))


asyncio.run(main())
