// A consult that takes longer than the SDK's clients wait: 150 s, with their default request options (60 s).
//
//     make test-clients
//
// For the TypeScript SDK's client of either generation, over stdio, two consults at once:
// - patient: consult_consortium returns `running`, get_run is called until there is the answer;
// - impatient: the first call waits for longer than the client does and is given up after 60 s; the run goes on, the
//   same call again joins it, and get_run gives the answer. No call to a model is made twice.
// Prints when each call returned and with what; the exit status is 1 when an answer is missing.

import process from 'node:process';

import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as StdioV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { Client as ClientV2 } from '@modelcontextprotocol/client';
import { StdioClientTransport as StdioV2 } from '@modelcontextprotocol/client/stdio';

const SERVER = { command: process.env.PYTHON ?? 'python3', args: ['-m', 'consortium_mcp'], env: process.env };
const MEMBERS = ['member:2'];
const CALLS = 3; // two instances and the arbiter
const MOST_POLLS = 10;

const GENERATIONS = {
    'sdk 1.x': { Client: ClientV1, Transport: StdioV1 },
    'client 2.x': { Client: ClientV2, Transport: StdioV2 },
};

const began = Date.now();
const failures = [];

await Promise.all(Object.entries(GENERATIONS).map(([name, generation]) => consultTwice(name, generation)));
failures.forEach((failure) => console.error(`FAILED  ${failure}`));
process.exit(failures.length ? 1 : 0);

async function consultTwice(name, { Client, Transport }) {
    const client = new Client({ name: 'long-consult', version: '1' });
    await client.connect(new Transport(SERVER));
    try {
        await Promise.all([patient(`${name} patient  `, client), impatient(`${name} impatient`, client)]);
    } catch (error) {
        failures.push(`${name}: ${error.stack ?? error}`);
    } finally {
        await client.close();
    }
}

async function patient(who, client) {
    const running = await call(who, client, 'consult_consortium', { prompt: who, models: MEMBERS, arbiter: 'arbiter' });
    await answer(who, client, running);
}

async function impatient(who, client) {
    const consult = { prompt: who, models: MEMBERS, arbiter: 'arbiter' };
    const givenUp = await call(who, client, 'consult_consortium', { ...consult, wait_seconds: 600 }).catch(
        (error) => error,
    );
    say(who, `consult_consortium was given up: ${givenUp}`);
    check(who, /timed out/i.test(String(givenUp)), 'the client did not give up');
    await answer(who, client, await call(who, client, 'consult_consortium', { ...consult, wait_seconds: 1 }));
}

/** Polls until the run has ended, and checks what it ended with. */
async function answer(who, client, running) {
    check(who, running.status === 'running', `expected a running run, not ${running.status}`);
    let run = running;
    for (let poll = 0; run.status === 'running' && poll < MOST_POLLS; poll += 1) {
        run = await call(who, client, 'get_run', { run_id: running.run_id });
    }
    check(who, run.status === 'converged', `ended as ${run.status}`);
    check(who, run.answer === 'the answer that took its time', `answered ${run.answer}`);
    check(who, run.usage?.calls === CALLS, `${run.usage?.calls} calls were made instead of ${CALLS}`);
}

async function call(who, client, name, args) {
    const result = await client.callTool({ name, arguments: args }); // default options: 60 s, no progress
    const run = result.structuredContent;
    say(who, `${name} -> ${run?.status ?? JSON.stringify(result.content)}${run?.answer ? `: ${run.answer}` : ''}`);
    return run ?? {};
}

function check(who, holds, complaint) {
    if (!holds) failures.push(`${who}: ${complaint}`);
}

function say(who, what) {
    console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  ${who}  ${what}`);
}
