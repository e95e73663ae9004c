import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { ask, everywhere, form, given, key, place, url } from './shared.mjs';

const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: key });
const clients = {
  'ai openai chat': (model) => openai.chat(model),
  'ai openai responses': (model) => openai.responses(model),
  'ai anthropic': createAnthropic({ baseURL: `${url}/v1`, apiKey: key }),
  'ai google': createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey: key }),
};
const once = { maxRetries: 0, maxOutputTokens: 400 };

for (const [name, provide] of Object.entries(clients)) {
  everywhere(name, (upstream) => {
    const model = provide(upstream.model);
    const weather = (heard) => ({
      get_weather: tool({
        description: 'Tells.',
        inputSchema: place,
        execute: async (args) => {
          heard.push(args);
          return 'sunny';
        },
      }),
    });

    test('quickstart', async () => {
      const { text, usage, finishReason } = await generateText({ model, prompt: 'Hello!', ...once });
      assert.equal(text, 'Echo: Hello!');
      assert.equal(finishReason, 'stop');
      assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0);
    });

    test('streaming', async () => {
      const result = streamText({ model, prompt: 'Hello!', ...once });
      let text = '';
      for await (const piece of result.textStream) text += piece;
      assert.equal(text, 'Echo: Hello!');
      assert.ok((await result.usage).outputTokens > 0);
    });

    test('tool loop, JSON', async () => {
      const heard = [];
      const options = { model, prompt: ask, tools: weather(heard), stopWhen: stepCountIs(3), ...once };
      const { text, steps } = await generateText(options);
      assert.match(text, /^Tool said:/);
      assert.equal(steps.length, 2);
      assert.deepEqual(heard, [given]);
    });

    test('tool loop, SSE', async () => {
      const heard = [];
      const result = streamText({ model, prompt: ask, tools: weather(heard), stopWhen: stepCountIs(3), ...once });
      await result.consumeStream();
      assert.match(await result.text, /^Tool said:/);
      assert.deepEqual(heard, [given]);
    });

    test('structured output', async () => {
      const output = Output.object({ schema: form(upstream) });
      const result = await generateText({ model, prompt: 'Which city?', output, ...once });
      assert.ok(form(upstream).parse(result.output));
    });
  });

  test(`${name}: unknown model`, async () => {
    await assert.rejects(generateText({ model: provide('nobody'), prompt: 'Hi', ...once }), (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.equal(error.statusCode, 404);
      assert.match(error.message, /Model 'nobody' is not available/);
      return true;
    });
  });
}
