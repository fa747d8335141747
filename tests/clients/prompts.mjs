// The prompts, which hosts offer as slash commands, and the completion of their arguments and of a resource's.

import { CONNECTIONS, CONSULT, play } from './shared.mjs';

const QUESTION = 'Is it safe to retry a POST after a timeout?';

await play(CONNECTIONS, async (seat) => {
    const { prompts } = await seat.client.listPrompts();
    seat.say(`${prompts.length} prompts: ${prompts.map((prompt) => prompt.name).join(', ')}`);
    const asked = { name: 'second_opinion', arguments: { question: QUESTION } };
    const [{ content }] = (await seat.client.getPrompt(asked)).messages;
    seat.say(`second_opinion -> ${content.text.split('\n')[0]}`);
    seat.check(content.text.includes(QUESTION), 'the prompt lacks the question');
    seat.check(content.text.includes('consult_consortium'), 'the prompt names no tool');

    const name = `panel of ${seat.name}`;
    await seat.call('save_consortium', { name, models: CONSULT.models, arbiter: CONSULT.arbiter });
    await complete(seat, { type: 'ref/prompt', name: 'second_opinion' }, 'consortium', name);
    await complete(seat, { type: 'ref/resource', uri: 'consortium://consortiums/{name}' }, 'name', name);
});

async function complete(seat, ref, argument, expected) {
    const given = { ref, argument: { name: argument, value: expected.slice(0, -1) } };
    const { values } = (await seat.client.complete(given)).completion;
    seat.say(`${ref.type} ${argument} "${given.argument.value}" -> ${values.join(', ')}`);
    seat.check(values.includes(expected), `${expected} is not offered`);
}
