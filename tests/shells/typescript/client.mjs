// Talks to a TMWS server with the official TypeScript SDK, and prints what it saw as one JSON object.
// Usage: node client.mjs http URL | node client.mjs stdio COMMAND ARGUMENT...

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [way, target, ...args] = process.argv.slice(2);
const transport =
  way === "http"
    ? new StreamableHTTPClientTransport(new URL(target))
    : new StdioClientTransport({ command: target, args, env: process.env });

const client = new Client({ name: "typescript-test", version: "1.0.0" });
await client.connect(transport);

const { tools } = await client.listTools();
const call = async (name, input) => client.callTool({ name, arguments: input });
const content = `Over ${way}, the gardener prunes the pear tree in March.`;
const created = await call("create_memory", { content, tags: [way] });
const found = await call("search_memories", { query: "when is the pear tree pruned?", tags_all: [way] });
const refused = await call("get_memory", { memory_id: "00000000-0000-7000-8000-000000000000" });
const resource = await client.readResource({ uri: `memory://${created.structuredContent.memory_id}` });

console.log(
  JSON.stringify({
    server: client.getServerVersion().name,
    tools: tools.map((tool) => tool.name),
    created: created.structuredContent,
    found: found.structuredContent.results.map((hit) => hit.content),
    refused: { isError: refused.isError, code: refused.structuredContent.error.code },
    resource: JSON.parse(resource.contents[0].text).content,
  }),
);
await client.close();
