// A client that gives up, a user who stops, a caller who cancels.
//
// - Given up: the client's own time runs out; the run goes on, and the same call again joins it: nothing is paid twice.
// - Stopped: the user aborts the request, and the run is cancelled with it. Over Streamable HTTP of revision 2026-07-28
//   a stop is a closed connection, which tells no reason: there the run goes on until cancel_run.
// - Cancelled: cancel_run ends a run.

import { ANSWER, CALLS, CONNECTIONS, CONSULT, play } from './shared.mjs';

await play(CONNECTIONS, async (seat) => {
    await seat.call('list_models'); // the server is warm
    await giveUp(seat);
    await stop(seat);
    await cancel(seat);
});

async function giveUp(seat) {
    const consult = { ...CONSULT, prompt: `${seat.name} gives up`, models: ['unhurried:2'] };
    const error = await seat.call('consult_consortium', consult, { timeout: 1500 }).catch((given) => given);
    seat.say(`given up: ${error}`);
    seat.check(/timed out/i.test(String(error)), 'the client did not give up');
    const joined = await seat.call('consult_consortium', consult);
    seat.say(`the same call again -> ${joined.run.status}: ${joined.run.answer}`);
    seat.check(joined.run.answer === ANSWER, `it ended as ${joined.run.status}`);
    seat.check(joined.run.usage.calls === CALLS, `${joined.run.usage.calls} calls were made instead of ${CALLS}`);
}

async function stop(seat) {
    const { signal, runId, stopped } = await consultUntilRunning(seat, 'is stopped');
    signal.abort('The user pressed Escape.');
    seat.say(`stopped: ${await stopped.catch((error) => error)}`);
    if (seat.name === 'v2 http') await seat.call('cancel_run', { run_id: runId });
    const run = await seat.poll(runId);
    seat.check(run.status === 'cancelled', `the run ended as ${run.status}`);
}

async function cancel(seat) {
    const { runId, stopped } = await consultUntilRunning(seat, 'is cancelled');
    const { run } = await seat.call('cancel_run', { run_id: runId });
    seat.say(`cancel_run -> ${run.status}`);
    seat.check(run.status === 'cancelled', `the run reads ${run.status}`);
    const followed = await stopped;
    seat.check(followed.run.status === 'cancelled', `who followed it was told ${followed.run.status}`);
}

/** A consult whose member stays silent, followed by a request that does not end by itself. */
async function consultUntilRunning(seat, what) {
    const consult = { ...CONSULT, prompt: `${seat.name} ${what}`, models: ['silent:2'] };
    const runId = (await seat.call('consult_consortium', { ...consult, wait_seconds: 0 })).run.run_id;
    const signal = new AbortController();
    let following;
    const begun = new Promise((resolve) => (following = resolve)); // the server follows once it reports
    const options = { mayFail: true, signal: signal.signal, onprogress: following };
    const stopped = seat.call('get_run', { run_id: runId, wait_seconds: 600 }, options);
    await Promise.race([begun, stopped]);
    return { signal, runId, stopped };
}
