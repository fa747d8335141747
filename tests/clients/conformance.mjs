// The conformance suite's server scenarios, all that each revision requires, against the server over Streamable HTTP.
//
// What may fail is in expected_failures/, check by check; one that fails and is not there, or that is there and passes,
// is a failure.

import { execFile } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';

import { binary, check, end, say, serverUrl } from './shared.mjs';

const REVISIONS = ['2025-11-25', '2026-07-28'];

await end(runSuites());

async function runSuites() {
    const url = await serverUrl('http');
    const failed = [];
    for (const revision of REVISIONS) {
        const { status, output } = await runSuite(url, revision);
        say(revision, output.slice(output.indexOf('=== SUMMARY ===')));
        if (status !== 0) failed.push(revision);
    }
    check(failed.length === 0, `the suite failed at ${failed.join(' and ')}`);
}

function runSuite(url, revision) {
    const baseline = path.join(import.meta.dirname, 'expected_failures', `${revision}.yml`);
    const results = path.join(process.env.LLM_USER_PATH, 'conformance', revision);
    const asked = ['--url', url, '--requirements', revision, '--expected-failures', baseline, '-o', results];
    return new Promise((resolve) => {
        execFile(
            process.execPath,
            [binary('conformance'), 'server', ...asked],
            { maxBuffer: 1 << 26 },
            (error, stdout, stderr) => resolve({ status: error ? error.code : 0, output: stdout + stderr }),
        );
    });
}
