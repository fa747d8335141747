// A consult as a host makes it: the tools are listed, one is called with progress, and a run that takes longer is polled.

import { ANSWER, CALLS, CONNECTIONS, CONSULT, play } from './shared.mjs';

await play(CONNECTIONS, async (seat) => {
    const { tools } = await seat.client.listTools();
    seat.say(`${tools.length} tools: ${tools.map((tool) => tool.name).join(', ')}`);
    seat.check(
        tools.some((tool) => tool.name === 'consult_consortium'),
        'there is no consult_consortium',
    );

    const progress = [];
    const { run, text } = await seat.call(
        'consult_consortium',
        { ...CONSULT, prompt: seat.name },
        { onprogress: (one) => progress.push(one) },
    );
    seat.say(`progress ${progress.map((one) => `${one.progress} (${one.message})`).join(', ')}`);
    seat.check(progress.length > 0, 'no progress was reported');
    seat.check(
        progress.every((one, at) => at === 0 || one.progress > progress[at - 1].progress),
        'progress did not increase',
    );
    seat.say(`consult_consortium -> ${run.status}: ${run.answer}`);
    seat.check(run.answer === ANSWER && text.includes(ANSWER), `the answer was ${run.answer}, in the text: ${text}`);
    seat.check(run.usage.calls === CALLS, `${run.usage.calls} calls were made instead of ${CALLS}`);

    const unhurried = { ...CONSULT, prompt: seat.name, models: ['unhurried:2'] };
    const begun = await seat.call('consult_consortium', { ...unhurried, wait_seconds: 0 });
    seat.say(`consult_consortium -> ${begun.run.status}: ${begun.text.split('\n')[0]}`);
    seat.check(begun.run.status === 'running', 'the consult waited');
    const ended = await seat.poll(begun.run.run_id);
    seat.check(ended.answer === ANSWER, `polled ${ended.status}: ${ended.answer}`);

    const refused = await seat.call('consult_consortium', { prompt: '?', models: ['nobody'] }, { mayFail: true });
    seat.say(`an unknown model -> ${refused.text}`);
    seat.check(refused.isError && refused.text.includes("'nobody'"), 'an unknown model was no error');
});
