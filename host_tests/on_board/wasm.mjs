// Runs one file of pure tests in MicroPython's WebAssembly build.
//
//   node wasm.mjs MICROPYTHON.MJS ROOT FOLDERS FILE TEST...
//
// FOLDERS, separated by ":" and relative to ROOT, are copied into the interpreter's own file system under /;
// what runner.py prints goes to standard output as it comes.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const HEAP_BYTES = 16 * 1024 * 1024;
const [library, root, folders, file, ...tests] = process.argv.slice(2);

process.chdir(path.dirname(library)); // the oldest build looks for its .wasm there
const { loadMicroPython } = await import(pathToFileURL(library));
const print = (line) => fs.writeSync(1, line + "\n");
const python = await loadMicroPython({ heapsize: HEAP_BYTES, stdout: print, stderr: print });

function copy(folder) {
  python.FS.mkdirTree("/" + folder);
  for (const entry of fs.readdirSync(path.join(root, folder), { withFileTypes: true })) {
    const name = folder + "/" + entry.name;
    if (entry.isDirectory() && entry.name !== "__pycache__") copy(name);
    else if (entry.isFile()) python.FS.writeFile("/" + name, fs.readFileSync(path.join(root, name)));
  }
}
for (const folder of folders.split(":")) if (fs.existsSync(path.join(root, folder))) copy(folder);

python.runPython(`
import sys
sys.path.append("/host_tests/on_board")
import runner
runner.run("", ${JSON.stringify(file)}, ${JSON.stringify(tests)})
`);
