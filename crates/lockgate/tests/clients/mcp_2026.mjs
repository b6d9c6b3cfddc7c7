// Talks to a server with npm's @modelcontextprotocol/client, pinned to 2026-07-28.
//
//     node mcp_2026.mjs PLAN
//
// Run it where the package is installed. PLAN is JSON: `url` with `token`, or `command`; and `calls`, each a name and
// its arguments. Prints what it saw as JSON: `version`, `tools`, `results`.

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.cwd(), "package.json"));
const load = (path) => import(pathToFileURL(require.resolve(path)));
const { Client, StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client");
const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio");

function transport({ url, token, command }) {
  if (command) return new StdioClientTransport({ command: command[0], args: command.slice(1) });
  const headers = { Authorization: `Bearer ${token}` };
  return new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
}

const plan = JSON.parse(process.argv[2]);
const versionNegotiation = { mode: { pin: "2026-07-28" } };
const client = new Client({ name: "acceptance", version: "1.0.0" }, { versionNegotiation });
await client.connect(transport(plan));
const { tools } = await client.listTools();
const results = [];
for (const [name, args] of plan.calls) results.push(await client.callTool({ name, arguments: args }));
const version = client.getNegotiatedProtocolVersion();
await client.close();
console.log(JSON.stringify({ version, tools: tools.map((tool) => tool.name), results }));
