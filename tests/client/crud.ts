// What a frontend does with the client that openapi-typescript makes of /openapi.json.
import type createClient from "openapi-fetch";
import type { components, paths } from "./api";

type Item = components["schemas"]["Item"];

export async function crud(create: typeof createClient, baseUrl: string): Promise<unknown[]> {
  const api = create<paths>({ baseUrl });
  const seen: unknown[] = [];

  const created = await api.POST("/api/items", { body: { name: "Pencil", quantity: 3 } });
  if (created.error) throw new Error(created.error.detail ?? created.error.title);
  const item: Item = created.data;
  seen.push(created.response.headers.get("Location"), item.description);
  const path = { item_id: item.id };

  const read = await api.GET("/api/items/{item_id}", { params: { path } });
  seen.push(read.data?.name);

  const patched = await api.PATCH("/api/items/{item_id}", { params: { path }, body: { quantity: 4 } });
  seen.push(patched.data?.quantity);

  const missing = await api.GET("/api/items/{item_id}", { params: { path: { item_id: 9 } } });
  seen.push(missing.response.status, missing.error?.title);

  const invalid = await api.POST("/api/items", { body: { name: "", quantity: -1 } });
  seen.push(invalid.error?.errors?.map((fault) => fault.pointer));

  await api.POST("/api/items", { body: { name: "Rubber" } });
  const page = await api.GET("/api/items", { params: { query: { limit: 1 } } });
  seen.push(page.data?.length, page.response.headers.get("Link"));

  const deleted = await api.DELETE("/api/items/{item_id}", { params: { path } });
  const gone = await api.GET("/api/items/{item_id}", { params: { path } });
  seen.push(deleted.response.status, gone.response.status);
  return seen;
}
