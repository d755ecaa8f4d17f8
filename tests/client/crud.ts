// What a frontend does with the client that openapi-typescript makes of /openapi.json.
import type createClient from "openapi-fetch";
import type { components, paths } from "./api";

type Item = components["schemas"]["Item"];

function etag(response: Response): string {
  const found = response.headers.get("ETag");
  if (found === null) throw new Error("the page cannot read ETag");
  return found;
}

export async function crud(create: typeof createClient, baseUrl: string): Promise<unknown[]> {
  const api = create<paths>({ baseUrl });
  const seen: unknown[] = [];

  const created = await api.POST("/api/items", { body: { name: "Pencil", quantity: 3 } });
  if (created.error) throw new Error(created.error.detail);
  const item: Item = created.data;
  seen.push(created.response.headers.get("Location"), item.description);
  const path = { item_id: item.id };

  const read = await api.GET("/api/items/{item_id}", { params: { path } });
  seen.push(read.data?.name);

  const patched = await api.PATCH("/api/items/{item_id}", {
    params: { path, header: { "If-Match": etag(read.response) } },
    body: { quantity: 4 },
  });
  seen.push(patched.data?.quantity);

  const late = await api.PUT("/api/items/{item_id}", {
    params: { path, header: { "If-Match": etag(read.response) } },
    body: { name: "Pen" },
  });
  seen.push(late.response.status, late.error?.title);

  const invalid = await api.POST("/api/items", { body: { name: "", quantity: -1 } });
  seen.push(invalid.error?.errors?.map((fault) => fault.pointer));

  await api.POST("/api/items", { body: { name: "Rubber" } });
  const page = await api.GET("/api/items", { params: { query: { limit: 1 } } });
  seen.push(page.data?.length, page.response.headers.get("Link"));

  const deleted = await api.DELETE("/api/items/{item_id}", {
    params: { path, header: { "If-Match": etag(patched.response) } },
  });
  const gone = await api.GET("/api/items/{item_id}", { params: { path } });
  seen.push(deleted.response.status, gone.response.status);
  return seen;
}
