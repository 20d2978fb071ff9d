#!/usr/bin/env -S UV_THREADPOOL_SIZE=12 node
// The thread pool is made before the first line of a module runs, so that only the environment can size it: with four
// threads a few long queries make file operations wait.
import { run } from './cli.js';

process.exitCode = await run(process.argv.slice(2));
