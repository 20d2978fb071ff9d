#!/usr/bin/env node
// The thread pool is sized when it is first used, and a few long queries must not stall every file operation.
process.env['UV_THREADPOOL_SIZE'] ??= '12';

const { run } = await import('./cli.js');
process.exitCode = await run(process.argv.slice(2));
