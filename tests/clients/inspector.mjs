// The Inspector's command line, once for each of its methods: over stdio and Streamable HTTP, in both protocol eras.
//
// It ends with 0 only when it understood the answer; `tools/list --strict` also judges our schemas.

import { execFile } from 'node:child_process';
import { cpus } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

import { ANSWER, CONSULT, SERVER, binary, check, end, say, serverUrl } from './shared.mjs';

const HOME = process.env.LLM_USER_PATH; // where it may leave files
const ENVIRONMENT = { ...SERVER.env, HOME, MCP_CATALOG_PATH: path.join(HOME, 'mcp.json') };
const REVISIONS = { modern: '2026-07-28', legacy: '2025-11-25' };

/** What is asked, and how its answer is read: something to show, or nothing when it is wrong. */
const CHECKS = ({ run_id: runId, run_uri: runUri }, era) => [
    [['initialize'], (said) => said.protocolVersion === REVISIONS[era] && said.protocolVersion],
    [['tools/list', '--strict'], ({ tools }) => tools.length > 0 && `${tools.length} tools`],
    [consultArguments('asked by the Inspector'), ({ structuredContent: { answer } }) => answer === ANSWER && answer],
    [['resources/list'], ({ resources }) => resources.length > 0 && `${resources.length} resources`],
    [
        ['resources/templates/list'],
        ({ resourceTemplates }) => resourceTemplates.map((template) => template.uriTemplate).join(', '),
    ],
    [['resources/read', '--uri', runUri], ({ contents: [{ text }] }) => JSON.parse(text).run_id === runId && runUri],
    [['prompts/list'], ({ prompts }) => prompts.map((prompt) => prompt.name).join(', ')],
    [
        ['prompts/get', '--prompt-name', 'second_opinion', '--prompt-args', 'question=Why?'],
        ({ messages: [{ content }] }) => content.text.split('\n')[0],
    ],
];

await end(inspectAll());

async function inspectAll() {
    const run = await consult();
    const jobs = Object.keys(REVISIONS).flatMap((era) =>
        ['stdio', 'http'].flatMap((transport) => CHECKS(run, era).map((check) => () => inspect(era, transport, check))),
    );
    await Promise.all(cpus().map(() => work(jobs)));
}

/** One run for all to read. */
async function consult() {
    const { structuredContent: run } = await method('modern', 'http', consultArguments('to be read'));
    return run;
}

function consultArguments(prompt) {
    const given = JSON.stringify({ ...CONSULT, prompt });
    return ['tools/call', '--tool-name', 'consult_consortium', '--tool-args-json', given];
}

async function work(jobs) {
    for (let job = jobs.shift(); job; job = jobs.shift()) await job();
}

async function inspect(era, transport, [asked, read]) {
    const who = `${era} ${transport}`;
    const what = read(await method(era, transport, asked));
    check(what, `${who}: ${asked[0]} answered something else`);
    say(who, `${asked.slice(0, 2).join(' ').padEnd(24)}  ${what}`);
}

/** What a method answers; an error, with what the Inspector wrote, when its exit status is not 0. */
async function method(era, transport, [name, ...options]) {
    const asked = ['--cli', '--format', 'json', '--protocol-era', era, '--method', name, ...options];
    const run = promisify(execFile)(
        process.execPath,
        [binary('mcp-inspector'), ...asked, ...(await target(transport))],
        {
            env: ENVIRONMENT,
            maxBuffer: 1 << 26,
        },
    );
    return JSON.parse((await run).stdout).result;
}

async function target(transport) {
    if (transport === 'http') return ['--transport', 'http', '--server-url', await serverUrl('http')];
    const given = ['LLM_USER_PATH', 'CONSORTIUM_DATABASE', 'NO_PROXY'].map((name) => `${name}=${ENVIRONMENT[name]}`);
    return [...given.flatMap((pair) => ['-e', pair]), SERVER.command, ...SERVER.args];
}
