"""Strands Agents, over chat completions and messages, always in events."""

import json
import sys

from strands import Agent
from strands.models.anthropic import AnthropicModel
from strands.models.openai import OpenAIModel
from strands.tools.mcp import MCPClient

PLAN = json.loads(sys.argv[1])


def main():
    headers = {"Authorization": f"Bearer {PLAN['token']}"}
    key = {"api_key": PLAN["token"]}
    models = {
        "chat in events": OpenAIModel(
            client_args={**key, "base_url": PLAN["model"] + "/v1"}, model_id="large"
        ),
        "messages in events": AnthropicModel(
            client_args={**key, "base_url": PLAN["model"]}, model_id="large", max_tokens=1000
        ),
    }
    answers = {}
    config = {"gate": {"url": PLAN["mcp"], "headers": headers}}
    [server] = MCPClient.load_servers(config, prefix_with_server_name=True)
    with server:
        tools = server.list_tools_sync()
        for api, model in models.items():
            said = answers.setdefault(api, [])
            for prompt in PLAN["prompts"]:
                agent = Agent(model=model, tools=tools, callback_handler=None)
                said.append(str(agent(prompt)))
    print(json.dumps(answers))


main()
