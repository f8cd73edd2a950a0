// graphile-worker: a local queue of 2,000, 96 at once on 10 connections, ends written in batches. Rows of jobs that are
// done are deleted.
//
// usage: node run_graphile_worker.cjs URL enqueue|bulk|drain|pickup NUMBER
"use strict";
const { spawn } = require("child_process");
const { Logger, makeWorkerUtils, run, runMigrations } = require("graphile-worker");
const { Pool } = require("pg");

const CHUNK = 5000;
const PAYLOAD = {
  user: 123456, kind: "invoice.send", email: "someone@example.com", tags: ["alpha", "beta", "gamma"], amount: "1234.56",
  note: "x".repeat(68),
};
const QUICKEST = {
  concurrentJobs: 96, maxPoolSize: 10, localQueue: { size: 2000 }, completeJobBatchDelay: 0, failJobBatchDelay: 0,
  preparedStatements: true, pollInterval: 2000,
};
const logger = new Logger(() => () => {});
const now = () => Number(process.hrtime.bigint()) / 1e9; // as time.perf_counter() of Python
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function withUtils(connectionString, action) {
  const pgPool = new Pool({ connectionString, max: 1 });
  const utils = await makeWorkerUtils({ pgPool, logger });
  try {
    return await action(utils, pgPool);
  } finally {
    await utils.release();
    await pgPool.end();
  }
}

async function fill(utils, number) {
  for (let first = 0; first < number; first += CHUNK) {
    const size = Math.min(CHUNK, number - first);
    await utils.addJobs(Array.from({ length: size }, () => ({ identifier: "noop", payload: PAYLOAD })));
  }
}

const verbs = {
  enqueue: (url, number) => withUtils(url, async (utils) => {
    for (let done = 0; done < 50; done++) await utils.addJob("noop", PAYLOAD);
    const started = now();
    for (let done = 0; done < number; done++) await utils.addJob("noop", PAYLOAD);
    return { rate: number / (now() - started) };
  }),

  bulk: (url, number) => withUtils(url, async (utils) => {
    const started = now();
    await fill(utils, number);
    return { rate: number / (now() - started), bulk: true };
  }),

  put: (url, number) => withUtils(url, async (utils) => {
    for (let done = 0; done < number; done++) {
      await pause(0.02 + Math.random() * 0.03);
      await utils.addJob("clock", { at: now(), ...PAYLOAD });
    }
    return {};
  }),

  // From the first run, when a local queue is full already, to the last row that is gone.
  drain: (url, number) => withUtils(url, async (utils, pgPool) => {
    await fill(utils, number);
    await pgPool.query("VACUUM ANALYZE");
    await pgPool.query("CHECKPOINT");
    let ran = 0, started = 0, ended;
    const all = new Promise((resolve) => (ended = resolve));
    const noop = () => {
      if (!ran++) started = now();
      if (ran === number) ended();
    };
    const runner = await run({
      preset: { worker: { connectionString: url, logger, ...QUICKEST } }, noHandleSignals: true, taskList: { noop },
    });
    await all;
    for (;;) {
      const { rows } = await pgPool.query("SELECT count(*)::int AS number FROM graphile_worker._private_jobs");
      if (!rows[0].number) break;
      await pause(0.003);
    }
    const took = now() - started;
    await runner.stop();
    return { rate: number / took };
  }),

  pickup: async (url, number) => {
    const seconds = [];
    const clock = (payload) => { seconds.push(now() - payload.at); };
    const runner = await run({
      preset: { worker: { connectionString: url, logger, concurrentJobs: 10, pollInterval: 2000 } },
      noHandleSignals: true, taskList: { clock },
    });
    await pause(1.5);
    const other = spawn(process.execPath, [__filename, url, "put", String(number)]);
    await new Promise((resolve) => other.on("exit", resolve));
    await pause(1);
    await runner.stop();
    return { seconds };
  },
};

(async () => {
  const [url, verb, number] = process.argv.slice(2);
  if (verb !== "put") await runMigrations({ connectionString: url, logger });
  const found = await verbs[verb](url, Number(number));
  console.log(JSON.stringify({ ...found, node: process.version }));
  process.exit(0);
})().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
