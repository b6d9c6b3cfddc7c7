// The OpenAI Agents SDK for JavaScript, over the Responses API and chat completions.
// Run it where the packages are installed.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(join(process.cwd(), 'package.json'));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const {
  Agent, MCPServerStreamableHttp, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner,
  setTracingDisabled,
} = await load('@openai/agents');
const { default: OpenAI } = await load('openai');

const plan = JSON.parse(process.argv[2]);
setTracingDisabled(true);
const client = new OpenAI({ baseURL: `${plan.model}/v1`, apiKey: plan.token });
const models = {
  responses: new OpenAIResponsesModel(client, 'large'),
  chat: new OpenAIChatCompletionsModel(client, 'large'),
};
const headers = { Authorization: `Bearer ${plan.token}` };
const server = new MCPServerStreamableHttp({ url: plan.mcp, requestInit: { headers } });
await server.connect();
const answers = {};
for (const [api, model] of Object.entries(models)) {
  const whole = (answers[api] = []);
  const streamed = (answers[`${api} in events`] = []);
  for (const prompt of plan.prompts) {
    const agent = new Agent({ name: 'agent', model, mcpServers: [server] });
    const runner = new Runner();
    whole.push((await runner.run(agent, prompt)).finalOutput);
    const run = await runner.run(agent, prompt, { stream: true });
    await run.completed;
    streamed.push(run.finalOutput);
  }
}
await server.close();
console.log(JSON.stringify(answers));
