// Run pytest under Pyodide in node: node tools/pyodide/run_tests.mjs [arguments of pytest]
//
// Pyodide comes from npm and the pure wheels of requirements.txt from pip, both into .cache/pyodide, once for each change of the files
// that pin them. The checkout is mounted under its own path, so that messages name files as they are called here. Python runs in a worker;
// this thread watches it, and interrupts a test that takes longer than RUMPKIT_PYODIDE_TIMEOUT seconds (default 120).
// Exits with pytest's status.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.dirname(path.dirname(HERE));
const CACHE = path.join(ROOT, ".cache", "pyodide");
const PINS = ["package.json", "requirements.txt"];
const SIGINT = 2;
const GRACE_SECONDS = 20;

function call(command, args, options = {}) {
  const done = spawnSync(command, args, { stdio: ["ignore", "ignore", "inherit"], ...options });
  if (done.status !== 0) {
    console.error(`rumpkit: failed: ${command} ${args.join(" ")} (${done.error ?? `status ${done.status}`})`);
    process.exit(1);
  }
}

/** Install what the pins name into .cache/pyodide, unless that has been done. */
function install() {
  const pins = PINS.map((name) => fs.readFileSync(path.join(HERE, name)));
  const digest = createHash("sha256").update(Buffer.concat(pins)).digest("hex");
  const stamp = path.join(CACHE, "stamp");
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === digest) return;
  console.error("rumpkit: installing Pyodide and pytest for it into .cache/pyodide");
  fs.rmSync(CACHE, { recursive: true, force: true });
  fs.mkdirSync(CACHE, { recursive: true });
  fs.copyFileSync(path.join(HERE, "package.json"), path.join(CACHE, "package.json"));
  call("npm", ["install", "--no-package-lock", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"], { cwd: CACHE });
  const own = path.join(ROOT, ".venv", "bin", "python");
  call(fs.existsSync(own) ? own : "python3", [
    ...["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", path.join(CACHE, "site-packages")],
    ...["--only-binary=:all:", "--platform", "any", "--implementation", "py", "--python-version", "3.14"],
    ...["--requirement", path.join(HERE, "requirements.txt")],
  ]);
  fs.writeFileSync(stamp, digest);
}

/** Start the worker and watch it; the process ends when pytest has. */
function watch() {
  const limit = 1000 * Number(process.env.RUMPKIT_PYODIDE_TIMEOUT || 120);
  const interrupt = new Uint8Array(new SharedArrayBuffer(1));
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { interrupt, args: process.argv.slice(2) } });
  let running = "the start of Pyodide";
  let timer;
  const expect = (what) => {
    running = what;
    clearTimeout(timer);
    timer = setTimeout(() => {
      fs.writeSync(2, `\nrumpkit: ${running} takes longer than ${limit / 1000} s under Pyodide: interrupting it\n`);
      interrupt[0] = SIGINT;
      timer = setTimeout(() => process.exit(1), 1000 * GRACE_SECONDS);
    }, limit);
  };
  expect(running);
  worker.on("message", (message) => ("status" in message ? process.exit(message.status) : expect(message.test)));
  worker.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
}

const PROGRAM = `
import os, sys
sys.path[:0] = [ROOT + "/src", SITE]
sys.pycache_prefix = CACHE + "/pycache"
os.environ.update(ENVIRONMENT.to_py())
os.chdir(ROOT)
import pytest

class Watch:
    def pytest_runtest_logstart(self, nodeid):
        started(nodeid)

options = ["--capture=sys", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-W", "ignore::pytest.PytestConfigWarning", "--rootdir", ROOT]
int(pytest.main([*options, *ARGS.to_py()], plugins=[Watch()]))
`;

async function work() {
  const { loadPyodide } = await import(pathToFileURL(path.join(CACHE, "node_modules", "pyodide", "pyodide.mjs")).href);
  const print = (descriptor) => ({
    write: (bytes) => fs.writeSync(descriptor, bytes),
    isatty: false,
  });
  const pyodide = await loadPyodide();
  pyodide.setStdout(print(1));
  pyodide.setStderr(print(2));
  pyodide.setInterruptBuffer(workerData.interrupt);
  pyodide.FS.mkdirTree(ROOT);
  pyodide.mountNodeFS(ROOT, ROOT);
  const names = Object.keys(process.env).filter((name) => /^(RUMPKIT|HYPOTHESIS|PYTEST)_/.test(name));
  const values = {
    ROOT,
    CACHE,
    SITE: path.join(CACHE, "site-packages"),
    ENVIRONMENT: Object.fromEntries(names.map((name) => [name, process.env[name]])),
    ARGS: workerData.args,
    started: (test) => parentPort.postMessage({ test }),
  };
  for (const [name, value] of Object.entries(values)) pyodide.globals.set(name, value);
  parentPort.postMessage({ status: pyodide.runPython(PROGRAM) });
}

if (isMainThread) {
  install();
  watch();
} else {
  await work();
}
