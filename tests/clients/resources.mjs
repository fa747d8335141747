// Resources: listed, read, and followed while a run is under way.

import { ANSWER, CONNECTIONS, CONSULT, Heard, play } from './shared.mjs';

await play(CONNECTIONS, async (seat) => {
    const { run } = await seat.call('consult_consortium', { ...CONSULT, prompt: seat.name });
    await list(seat);
    await read(seat, run);
    await follow(seat);
});

async function list(seat) {
    const { resources } = await seat.client.listResources();
    const { resourceTemplates } = await seat.client.listResourceTemplates();
    seat.say(`${resources.length} resources: ${resources.map((resource) => resource.uri).join(', ')}`);
    seat.say(`${resourceTemplates.length} templates: ${resourceTemplates.map((one) => one.uriTemplate).join(', ')}`);
    seat.check(
        resources.some((resource) => resource.uri === 'consortium://runs'),
        'consortium://runs is not listed',
    );
    const error = await seat.client.listResources({ cursor: 'nonsense' }).catch((given) => given);
    seat.say(`a cursor that is none -> ${error.code}: ${error.message}`);
    seat.check(error.code === -32602, `a cursor that is none -> ${error}`);
}

async function read(seat, { run_id: runId, run_uri: runUri, transcript_uri: transcriptUri }) {
    const record = JSON.parse(await seat.read(runUri));
    seat.check(record.run_id === runId && record.answer === ANSWER, `${runUri} holds another run`);
    const transcript = await seat.read(transcriptUri);
    seat.check(transcript.includes(ANSWER), `${transcriptUri} lacks the answer`);
    seat.say(`read ${runUri} and its transcript of ${transcript.length} characters`);
    const error = await seat.read('consortium://runs/nosuchrun').catch((given) => given);
    seat.say(`a run that is not there -> ${error.code}: ${error.message}`);
    seat.check(error.code === -32602, `a run that is not there -> ${error}`);
}

/** Hears of a new run, then of each change of it until it has ended. */
async function follow(seat) {
    const heard = new Heard(seat);
    const leaveList = await seat.subscribe('consortium://runs');
    const consult = { ...CONSULT, prompt: `${seat.name} follows`, models: ['unhurried:2'], wait_seconds: 0 };
    const { run } = await seat.call('consult_consortium', consult);
    await heard.next('list_changed');
    await heard.next('consortium://runs');

    const leaveRun = await seat.subscribe(run.run_uri);
    let record = JSON.parse(await seat.read(run.run_uri));
    while (record.status === 'running') {
        await heard.next(run.run_uri);
        record = JSON.parse(await seat.read(run.run_uri));
        seat.say(`${run.run_uri} was updated: ${record.status}`);
    }
    seat.check(record.answer === ANSWER, `it ended as ${record.status}`);
    await leaveRun();
    await leaveList();
}
