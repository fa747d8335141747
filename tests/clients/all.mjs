// Runs the scripts of this folder, or those that are named, on a Node that all of them can do with.
//
//     python -m tests.provider --seconds 150 node tests/clients/all.mjs [SCRIPT…]
//
// What a script says comes out when it has ended; the exit status is 1 when one of them failed.

import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';

const NO_SCRIPTS = ['all', 'shared'];
const WAITING = ['long_consult']; // has little to do: it runs beside the others
const OLDEST_NODE = [22, 19]; // what the Inspector and the conformance suite ask for

const node = suitableNode();
const named = process.argv.slice(2);
const scripts = named.length ? named : scriptsHere();
const failed = [];

await Promise.all([
    runInTurn(scripts.filter((script) => WAITING.includes(script))),
    runInTurn(scripts.filter((script) => !WAITING.includes(script))),
]);
console.log(failed.length ? `FAILED: ${failed.join(', ')}` : `Passed: ${scripts.join(', ')}`);
process.exit(failed.length ? 1 : 0);

function scriptsHere() {
    const names = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.mjs'));
    return names.map((name) => path.basename(name, '.mjs')).filter((name) => !NO_SCRIPTS.includes(name));
}

async function runInTurn(names) {
    for (const name of names) await run(name);
}

function run(name) {
    const script = path.join(import.meta.dirname, `${name}.mjs`);
    return new Promise((resolve) => {
        execFile(node, [script], { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
            if (error) failed.push(name);
            console.log(`== ${name}: ${error ? 'FAILED' : 'passed'}\n${stdout}${stderr}`);
            resolve();
        });
    });
}

/** The Node that runs this, or the one among the packages. */
function suitableNode() {
    const [major, minor] = process.versions.node.split('.').map(Number);
    if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return process.execPath;
    return createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/bin/node`);
}
