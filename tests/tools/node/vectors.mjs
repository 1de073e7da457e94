// Reads every vector file; the format is in ../README.md.
import { readFileSync, readdirSync } from 'node:fs';

const folder = new URL('../../vectors/', import.meta.url);

const files = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .sort()
  .map((name) => JSON.parse(readFileSync(new URL(name, folder), 'utf8')));

const gather = (list) =>
  files.flatMap((file) => (file[list] ?? []).map((entry) => ({ ...entry, keys: file.keys ?? [] })));

export const documents = gather('documents');
export const requests = gather('requests');
/** Documents that must be refused for what `check` names; see which of them a library without this protocol can tell. */
export const refused = gather('refused');

export function keyOf(entry, kid) {
  const key = entry.keys.find((candidate) => candidate.kid === kid);
  if (!key) throw new Error(`${entry.name}: the file has no key ${kid}`);
  return key;
}

/** Messages to service systems (Standard Webhooks). */
export const webhooks = gather('webhooks');
