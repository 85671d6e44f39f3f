// run.mjs FILE SCENARIO ADDRESS...: one exported function of FILE, called with the addresses. It fails when that throws.
// What a client keeps open must not keep the program: a scenario that forgets to close fails by this deadline.
import { pathToFileURL } from 'node:url';

const [file, scenario, ...addresses] = process.argv.slice(2);
const deadline = setTimeout(() => {
  console.error(`${scenario}: not done, or not closed, after 60 s`);
  process.exit(2);
}, 60000 * Number(process.env.PATIENCE ?? 1));
const scenarios = await import(pathToFileURL(file));
await scenarios[scenario](...addresses);
deadline.unref();
