// An answer of 1.7 MB, from a member and from the arbiter: the consult works, its result is one that a model can take, and
// the rest is read in pieces.

import { CONSULT, play } from './shared.mjs';

const LENGTH = 1_749_999; // what tests/provider/__main__.py says
const MOST = 100_000; // characters; clients cut a result of more than 25,000 tokens

await play(['v1 stdio', 'v1 http', 'v2 stdio', 'v2 http'], async (seat) => {
    const ofMember = await consult(seat, 'a member', { models: ['long', 'member'] });
    const [{ responses }] = ofMember.iterations;
    seat.check(responses[0].text.length === LENGTH, `the member's text has ${responses[0].text.length} characters`);

    const ofArbiter = await consult(seat, 'the arbiter', { models: ['member'], arbiter: 'long-arbiter' });
    seat.check(ofArbiter.answer.length === LENGTH, `the answer has ${ofArbiter.answer.length} characters`);
});

/** Consults, and reads the whole record. */
async function consult(seat, who, definition) {
    const consulted = { ...CONSULT, ...definition, prompt: `${seat.name}: ${who} says much` };
    const result = await seat.call('consult_consortium', consulted);
    const { length } = JSON.stringify([result.content, result.structuredContent]);
    seat.say(`${who} says 1.7 MB -> ${result.run.status}, in ${length} characters`);
    seat.check(length < MOST, `the result has ${length} characters`);
    return JSON.parse(await readPieces(seat, result.run.run_uri));
}

async function readPieces(seat, uri) {
    let [whole, pieces] = ['', 0];
    for (let next = uri; next; pieces += 1) {
        const { contents } = await seat.client.readResource({ uri: next });
        const [{ text: note }, piece] = contents.length > 1 ? contents : [{ text: '' }, contents[0]];
        whole += piece.text;
        next = /The next piece: (\S+)/.exec(note)?.[1];
    }
    seat.say(`read ${whole.length} characters in ${pieces} pieces`);
    return whole;
}
