// Talks to a server with npm's @modelcontextprotocol/sdk, which opens with initialize (2025-11-25).
//
//     node mcp_2025.mjs PLAN
//
// Run it where the package is installed. PLAN is JSON: `url` with `token`, or `command`; and `calls`, each a name and
// its arguments. Prints what it saw as JSON: `version`, `tools`, `results`.

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.cwd(), "package.json"));
const load = (path) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${path}`)));
const { Client } = await load("client/index.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");
const { StdioClientTransport } = await load("client/stdio.js");

function transport({ url, token, command }) {
  if (command) return new StdioClientTransport({ command: command[0], args: command.slice(1) });
  const headers = { Authorization: `Bearer ${token}` };
  return new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
}

const plan = JSON.parse(process.argv[2]);
const client = new Client({ name: "acceptance", version: "1.0.0" });
const line = transport(plan);
// The package tells the transport what was negotiated, and keeps it to itself otherwise.
let version;
const tell = line.setProtocolVersion?.bind(line);
line.setProtocolVersion = (negotiated) => { version = negotiated; tell?.(negotiated); };
await client.connect(line);
const { tools } = await client.listTools();
const results = [];
for (const [name, args] of plan.calls) results.push(await client.callTool({ name, arguments: args }));
await client.close();
console.log(JSON.stringify({ version, tools: tools.map((tool) => tool.name), results }));
