// Creates an instance, sends it an event and reads it, through a client made from the description.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

type Message = components["schemas"]["StreamMessage"];
type Found = components["schemas"]["Found"];

/** What a search found, in words. Compiles only where members of unions are told apart by `kind`. */
export function counted(found: Found): string {
  switch (found.kind) {
    case "counts":
      return `${found.items[0]?.instances} instances`;
    case "unreadable":
      return `unreadable: ${found.items[0]?.why}`;
    default:
      return `an instance after ${found.items[0]?.seq} steps`;
  }
}

/** A message of a stream, in words. */
export function words(message: Message): string {
  switch (message.kind) {
    case "heartbeat":
      return message.position;
    case "error":
      return message.code;
    case "transitioned":
      return `${message.instance_id} ${message.to}`;
    default:
      return message.kind;
  }
}

function expect(what: string, is: unknown, wanted: unknown): void {
  if (is !== wanted) throw new Error(`${what}: expected ${wanted}, not ${is}`);
}

const client = createClient<paths>({ baseUrl: process.argv[2] ?? "" });

const created = await client.POST("/v1/components/{component}/machines/{machine}/instances", {
  params: { path: { component: "Door", machine: "Door" } },
  body: { context: { room: "hall" } },
});
if (!created.data || !("id" in created.data)) throw new Error(JSON.stringify(created.error));
const id = created.data.id;

const sent = await client.POST("/v1/instances/{id}/events", {
  params: { path: { id } },
  body: { event: "OPEN", payload: { by: "Ann" } },
});
expect("disposition", sent.data?.disposition, "transitioned");

const read = await client.GET("/v1/instances/{id}", { params: { path: { id } } });
expect("state", read.data?.state, "Open");
expect("context", read.data?.context["room"], "hall");

const found = await client.GET("/v1/instances", { params: { query: { count: true } } });
expect("kind", found.data?.kind, "counts");

const missing = await client.GET("/v1/instances/{id}", { params: { path: { id: "nobody" } } });
expect("problem", missing.error?.code, "unknown_instance");
