// What the tests of every SDK share: where the gateway is, and the upstreams that an answer may come from.
import { readFileSync } from 'node:fs';
import { describe } from 'node:test';
import { z } from 'zod';

export const url = process.env.NEXEON_URL;
export const key = process.env.NEXEON_KEY;
if (!url || !key) throw new Error('NEXEON_URL and NEXEON_KEY are not set: start these tests with tests/sdk/node/run');

// The ids of upstreams.yaml, PROVIDER:FORMAT, each on a line of its own.
const text = readFileSync(new URL('../upstreams.yaml', import.meta.url), 'utf8');
export const upstreams = [...text.matchAll(/^ {2}([a-z]+:[a-z_.]+):$/gm)].map(([, model]) => ({
  model,
  provider: model.split(':')[0],
}));
if (upstreams.length === 0) throw new Error('no model found in upstreams.yaml');

/** One group of tests for each provider in each format that it speaks. */
export function everywhere(client, body) {
  for (const upstream of upstreams) describe(`${client} → ${upstream.model}`, () => body(upstream));
}

/** The form of a structured answer: one provider has a JSON mode only, and the offline upstream no schema there. */
export const form = ({ provider }) =>
  provider === 'deepseek'
    ? z.object({ echo: z.string() })
    : z.object({ name: z.string(), population: z.number().int(), tags: z.array(z.string()) });

export const ask = 'Please call the tool get_weather';
export const place = z.object({ city: z.string(), days: z.number().int() });
export const given = { city: 'example', days: 1 };
export const parameters = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city', 'days'],
  additionalProperties: false,
};
