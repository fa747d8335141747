// What the scripts share: the real server, a connection of each kind to it, and how they say and check what they see.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { inspect } from 'node:util';

import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport as SseV1 } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport as StdioV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
    CreateMessageRequestSchema,
    ResourceListChangedNotificationSchema,
    ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import { StdioClientTransport as StdioV2 } from '@modelcontextprotocol/client/stdio';

/** Each client generation over each transport: the SDK's v1 speaks revision 2025-11-25, v2 is held to 2026-07-28. */
export const CONNECTIONS = ['v1 stdio', 'v1 http', 'v1 sse', 'v2 stdio', 'v2 http'];

/** The models that `python -m tests.provider` gives us; three calls are two members and the arbiter. */
export const CONSULT = { prompt: 'Capital of France?', models: ['member:2'], arbiter: 'arbiter', max_iterations: 1 };
export const ENDED = ['converged', 'exhausted']; // with an answer that was good enough, or without a further iteration
export const CALLS = 3;
export const ANSWER = 'Paris, says the arbiter.';

const SCRIPT = path.basename(process.argv[1], '.mjs');
const [COMMAND, ARGUMENTS] = [process.env.PYTHON ?? 'python3', ['-m', 'consortium_mcp']];
const ENVIRONMENT = {
    ...process.env,
    CONSORTIUM_DATABASE: path.join(process.env.LLM_USER_PATH, `${SCRIPT}.db`), // no script sees another's runs
    NO_PROXY: '127.0.0.1,localhost',
};

const GENERATIONS = {
    v1: {
        Client: ClientV1,
        transports: { stdio: StdioV1, http: HttpV1, sse: SseV1 },
        options: {},
        callTool: (client, call, options) => client.callTool(call, undefined, options),
        methods: {
            'sampling/createMessage': CreateMessageRequestSchema,
            'notifications/resources/updated': ResourceUpdatedNotificationSchema,
            'notifications/resources/list_changed': ResourceListChangedNotificationSchema,
        },
    },
    v2: {
        Client: ClientV2,
        transports: { stdio: StdioV2, http: HttpV2 },
        options: { versionNegotiation: { mode: { pin: '2026-07-28' } } },
        callTool: (client, call, options) => client.callTool(call, options),
        methods: {}, // named by themselves
    },
};

const PATIENCE_MS = 60_000; // for what should come soon
const began = Date.now();
const servers = new Map();

/** How the server is started over stdio. */
export const SERVER = { command: COMMAND, args: ARGUMENTS, env: ENVIRONMENT };

/** A package's command, to be run with this Node. */
export function binary(name) {
    return path.join(import.meta.dirname, 'node_modules', '.bin', name);
}

/** Starts the server over `http` or `sse`, once for all who ask; its URL. */
export function serverUrl(transport) {
    if (!servers.has(transport)) servers.set(transport, start(transport));
    return servers.get(transport).url;
}

/** The URL of this path of a server over HTTP and SSE whose callers, Ann and Bob, show their names as tokens. */
export async function teamUrl(path) {
    const tokens = `${ENVIRONMENT.CONSORTIUM_DATABASE}.tokens`;
    const digest = (token) => createHash('sha256').update(token).digest('hex');
    if (!servers.has('http,sse')) {
        writeFileSync(tokens, ['ann', 'bob'].map((name) => `${name}:${digest(name)}\n`).join(''));
        servers.set('http,sse', start('http,sse', { CONSORTIUM_TOKEN_FILE: tokens }));
    }
    return new URL(path, await servers.get('http,sse').url);
}

/** Plays one scene with a client over each of these connections, which all show one token. */
export async function gather(connections, { urls, token }, scene) {
    const seats = connections.map((name) => {
        const [generation] = name.split(' ');
        return new Seat(`${name} ${token}`, GENERATIONS[generation], {});
    });
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    try {
        await Promise.all(seats.map((seat) => seat.connectTo(urls, { requestInit: { headers } })));
        return await scene(seats);
    } finally {
        await Promise.all(seats.map((seat) => seat.client.close().catch(() => {})));
    }
}

/** Plays a scene over each of these connections, all at once; ends the process, with status 1 at the first failure. */
export async function play(connections, scene, clientOptions = {}) {
    await end(Promise.all(connections.map((name) => playOne(name, scene, clientOptions))));
}

/** Ends the process when the work is done: nothing that we started stays. */
export async function end(work) {
    let status = 0;
    try {
        await work;
    } catch (error) {
        console.error(`FAILED  ${error.message}`);
        status = 1;
    }
    await Promise.all([...servers.values()].map(({ process: server }) => stop(server)));
    process.exit(status);
}

export function say(who, what) {
    console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  ${who.padEnd(12)}  ${what}`);
}

export function check(holds, complaint) {
    if (!holds) throw new Error(complaint);
}

async function playOne(name, scene, { capabilities = {}, prepare = () => {} }) {
    const [generation, transport] = name.split(' ');
    const seat = new Seat(name, GENERATIONS[generation], capabilities);
    prepare(seat);
    try {
        await seat.connect(transport);
        await scene(seat);
    } catch (error) {
        throw new Error(`${name}: ${inspect(error)}`, { cause: error });
    } finally {
        await seat.client.close().catch(() => {});
    }
}

/** A client of either generation, spoken to in one way. */
class Seat {
    constructor(name, generation, capabilities) {
        this.name = name;
        this.isModern = name.startsWith('v2');
        this.generation = generation;
        this.client = new generation.Client({ name, version: '1' }, { ...generation.options, capabilities });
    }

    async connect(transport) {
        const Transport = this.generation.transports[transport];
        await this.client.connect(new Transport(transport === 'stdio' ? SERVER : new URL(await serverUrl(transport))));
    }

    async connectTo(urls, options) {
        const [, transport] = this.name.split(' ');
        await this.client.connect(new this.generation.transports[transport](urls[transport], options));
    }

    /** Calls a tool with the client's default options, unless others are given; fails on an error unless allowed. */
    async call(tool, args = {}, { mayFail = false, ...options } = {}) {
        const result = await this.generation.callTool(this.client, { name: tool, arguments: args }, options);
        const text = result.content.map((block) => block.text ?? '').join('');
        check(mayFail || !result.isError, `${tool} failed: ${text.slice(0, 300)}`);
        return { ...result, text, run: result.structuredContent };
    }

    /** Calls get_run until the run has ended. */
    async poll(runId, polls = 10) {
        for (let poll = 1; poll <= polls; poll += 1) {
            const { run } = await this.call('get_run', { run_id: runId }, { mayFail: true });
            this.say(`get_run -> ${run.status}`);
            if (run.status !== 'running') return run;
        }
        throw new Error(`the run ${runId} still runs after ${polls} polls`);
    }

    async read(uri) {
        return (await this.client.readResource({ uri })).contents.map((content) => content.text).join('');
    }

    /** Asks to hear of a resource, and of new ones, in the way of the revision; what ends it. */
    async subscribe(uri) {
        if (this.isModern) {
            const filter = { resourceSubscriptions: [uri], resourcesListChanged: true };
            const subscription = await this.client.listen(filter);
            return () => subscription.close();
        }
        await this.client.subscribeResource({ uri });
        return () => this.client.unsubscribeResource({ uri });
    }

    /** Handles what the server asks or announces; before `connect` for what the client declares. */
    on(method, handler) {
        const known = this.generation.methods[method] ?? method;
        if (method.startsWith('notifications/')) this.client.setNotificationHandler(known, handler);
        else this.client.setRequestHandler(known, handler);
    }

    say(what) {
        say(this.name, what);
    }

    check(holds, complaint) {
        check(holds, complaint);
    }
}

/** Notifications as they arrive; each is heard once. */
export class Heard {
    constructor(seat) {
        this.seat = seat;
        this.news = new Set();
        this.wake = () => {};
        const note = (what) => {
            this.news.add(what);
            this.wake();
        };
        seat.on('notifications/resources/list_changed', () => note('list_changed'));
        seat.on('notifications/resources/updated', ({ params }) => note(params.uri));
    }

    async next(what) {
        const tooLong = setTimeout(() => this.wake('too long'), PATIENCE_MS);
        while (!this.news.has(what)) {
            const why = await new Promise((resolve) => (this.wake = resolve));
            this.seat.check(why !== 'too long', `${what} was not announced; ${[...this.news]} was`);
        }
        clearTimeout(tooLong);
        this.news.delete(what);
    }
}

function start(transport, environment = {}) {
    const server = spawn(COMMAND, [...ARGUMENTS, 'serve', '--transport', transport, '--port', '0'], {
        env: { ...ENVIRONMENT, ...environment },
        stdio: ['ignore', 'inherit', 'pipe'],
    });
    const lines = createInterface(server.stderr);
    const url = new Promise((resolve, reject) => {
        lines.on('line', (line) => {
            const [, address] = /^Serving on (\S+?)(?:;| and)/.exec(line) ?? [];
            if (address) resolve(address);
            else console.error(line);
        });
        server.on('error', reject);
        server.on('exit', (status) => reject(new Error(`the ${transport} server ended with ${status}`)));
    });
    return { process: server, url };
}

function stop(server) {
    if (server.exitCode !== null || server.signalCode !== null) return undefined;
    return new Promise((resolve) => {
        server.on('exit', resolve);
        server.kill('SIGTERM');
    });
}
