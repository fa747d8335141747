// A consult that takes longer than the SDK's clients wait: 150 s, with their default request options (60 s).
//
// For the client of either generation, over stdio, two consults at once:
// - patient: consult_consortium returns `running`, get_run is called until there is the answer;
// - impatient: the first call waits for longer than the client does and is given up after 60 s; the run goes on, the
//   same call again joins it, and get_run gives the answer. No call to a model is made twice.
// Prints when each call returned and with what.

import { ANSWER, CALLS, CONSULT, ENDED, play } from './shared.mjs';

await play(['v1 stdio', 'v2 stdio'], (seat) => Promise.all([patient(seat), impatient(seat)]));

async function patient(seat) {
    const consult = { ...CONSULT, prompt: `${seat.name} is patient`, models: ['slow:2'] };
    await answer(seat, 'patient', await seat.call('consult_consortium', consult));
}

async function impatient(seat) {
    const consult = { ...CONSULT, prompt: `${seat.name} is impatient`, models: ['slow:2'] };
    const givenUp = await seat.call('consult_consortium', { ...consult, wait_seconds: 600 }).catch((error) => error);
    seat.say(`impatient: consult_consortium was given up: ${givenUp}`);
    seat.check(/timed out/i.test(String(givenUp)), 'the client did not give up');
    await answer(seat, 'impatient', await seat.call('consult_consortium', { ...consult, wait_seconds: 1 }));
}

/** Polls until the run has ended, and checks what it ended with. */
async function answer(seat, manner, { run: begun }) {
    seat.say(`${manner}: consult_consortium -> ${begun.status}`);
    seat.check(begun.status === 'running', `expected a running run, not ${begun.status}`);
    const run = await seat.poll(begun.run_id);
    seat.say(`${manner}: ${run.answer}`);
    seat.check(ENDED.includes(run.status) && run.answer === ANSWER, `ended as ${run.status}: ${run.answer}`);
    seat.check(run.usage.calls === CALLS, `${run.usage.calls} calls were made instead of ${CALLS}`);
}
