// `models: ["client", "client"]`: the client's own model is both members and the arbiter, no other model is needed.
//
// The SDK's v1 is asked by requests of the server (revision 2025-11-25), v2 by results that require input (2026-07-28).

import { CALLS, CONNECTIONS, play } from './shared.mjs';

const ANSWER = 'Paris, says the client.';
const VERDICT = `<synthesis_output><synthesis>${ANSWER}</synthesis><confidence>0.9</confidence>
<analysis>Both agree.</analysis><dissent></dissent><needs_iteration>false</needs_iteration></synthesis_output>`;

await play(CONNECTIONS, consultTheClient, { capabilities: { sampling: {} }, prepare: lendModel });

function lendModel(seat) {
    seat.questions = [];
    seat.on('sampling/createMessage', async ({ params }) => {
        const question = params.messages.at(-1).content.text;
        seat.questions.push(question);
        const text = question.includes('--- response') ? VERDICT : 'Paris.\nConfidence: 90%';
        return { model: 'host-model', role: 'assistant', content: { type: 'text', text }, stopReason: 'endTurn' };
    });
}

async function consultTheClient(seat) {
    const consult = { prompt: `Capital of France? asks ${seat.name}`, models: ['client', 'client'] };
    const { run } = await seat.call('consult_consortium', consult);
    seat.say(`asked ${seat.questions.length} times: ${seat.questions.map((one) => one.length)} characters`);
    seat.say(`consult_consortium -> ${run.status}: ${run.answer}, by ${run.responses.map((one) => one.label)}`);
    seat.check(seat.questions.length === CALLS, `the client was asked ${seat.questions.length} times, not ${CALLS}`);
    seat.check(seat.questions.filter((one) => one === consult.prompt).length === 2, 'the members got another question');
    seat.check(run.answer === ANSWER, `the answer was ${run.answer}`);
}
