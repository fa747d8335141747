// A team's server: two callers with a token each, over Streamable HTTP and SSE, with clients of both generations at once.
//
// A run that one client starts is polled by every other with the same token, whatever its generation and transport; with
// another's token it is no run, and without a token nobody connects.

import { ANSWER, CONSULT, end, gather, teamUrl } from './shared.mjs';

const CONNECTIONS = ['v1 http', 'v1 sse', 'v2 http'];

await end(meet());

async function meet() {
    const urls = { http: await teamUrl('/mcp'), sse: await teamUrl('/sse') };
    await gather(CONNECTIONS, { urls, token: 'ann' }, async (anns) => {
        await gather(CONNECTIONS, { urls, token: 'bob' }, async (bobs) => {
            await Promise.all(anns.map((starter) => share(starter, anns, bobs)));
        });
    });
    for (const connection of CONNECTIONS) await refuse(connection, urls);
}

/** One of Ann's clients starts a run, and all that she and Bob have ask for it. */
async function share(starter, anns, bobs) {
    const consult = { ...CONSULT, prompt: `${starter.name} asks for the team`, models: ['unhurried:2'] };
    const { run } = await starter.call('consult_consortium', { ...consult, wait_seconds: 0 });
    starter.check(run.status === 'running', `the consult waited: ${run.status}`);
    await Promise.all(bobs.map((bob) => findNothing(bob, run)));
    await Promise.all(
        anns.map(async (seat) => {
            const ended = await seat.poll(run.run_id);
            seat.check(ended.answer === ANSWER, `polled ${ended.status}: ${ended.answer}`);
            const record = JSON.parse(await seat.read(run.run_uri));
            seat.check(record.answer === ANSWER, `read ${record.status}: ${record.answer}`);
        }),
    );
    await Promise.all(bobs.map((bob) => findNothing(bob, run)));
}

/** What is another's is answered like what is not there. */
async function findNothing(seat, { run_id: runId, run_uri: runUri }) {
    for (const tool of ['get_run', 'cancel_run']) {
        const { isError, text } = await seat.call(tool, { run_id: runId }, { mayFail: true });
        seat.check(isError && text.includes('No run'), `${tool} of another's run -> ${text}`);
    }
    const error = await seat.read(runUri).catch((given) => given);
    seat.check(error.code === -32602, `another's ${runUri} -> ${error}`);
    const { run } = await seat.call('list_runs');
    seat.check(run.runs.length === 0, `another's runs are listed: ${run.runs.length}`);
    seat.say(`another's run -> ${error.message}`);
}

async function refuse(connection, urls) {
    for (const token of [undefined, 'nobody']) {
        const connected = gather([connection], { urls, token }, async () => 'connected');
        const outcome = await connected.catch((error) => error);
        if (!/401|unauthorized|invalid_token/i.test(String(outcome))) throw new Error(`${connection}, token ${token}: ${outcome}`);
    }
}
