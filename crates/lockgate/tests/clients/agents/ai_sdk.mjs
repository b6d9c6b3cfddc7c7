// Vercel's AI SDK, over chat completions, responses and messages.
// Run it where the packages are installed.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(join(process.cwd(), 'package.json'));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { createAnthropic } = await load('@ai-sdk/anthropic');
const { createMCPClient } = await load('@ai-sdk/mcp');
const { createOpenAI } = await load('@ai-sdk/openai');
const { generateText, isStepCount, streamText } = await load('ai');

const plan = JSON.parse(process.argv[2]);
const options = { baseURL: `${plan.model}/v1`, apiKey: plan.token };
const openai = createOpenAI(options);
const models = {
  chat: openai.chat('large'),
  responses: openai.responses('large'),
  messages: createAnthropic(options)('large'),
};
const headers = { Authorization: `Bearer ${plan.token}` };
const server = await createMCPClient({ transport: { type: 'http', url: plan.mcp, headers } });
const tools = await server.tools();
const answers = {};
for (const [api, model] of Object.entries(models)) {
  const whole = (answers[api] = []);
  const streamed = (answers[`${api} in events`] = []);
  for (const prompt of plan.prompts) {
    const asked = { model, tools, prompt, stopWhen: isStepCount(5) };
    whole.push((await generateText(asked)).text);
    streamed.push(await streamText(asked).text);
  }
}
await server.close();
console.log(JSON.stringify(answers));
