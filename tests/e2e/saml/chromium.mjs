// One login in real Chromium, by its own debugging protocol: node chromium.mjs URL NAME FOLDER UNTIL
// Prints what was requested, in order, with whether our cookie went with it, and what the browser complained about. Ends when a page begins with UNTIL.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const [url, name, folder, until] = process.argv.slice(2);
const browser = spawn('chromium', [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-extensions', '--no-default-browser-check',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
  '--remote-debugging-port=0', `--user-data-dir=${folder}/profile`, 'about:blank',
], { stdio: 'ignore' });

const file = `${folder}/profile/DevToolsActivePort`;
for (let tries = 0; tries < 200 && !existsSync(file); tries += 1) await sleep(100);
const [port] = readFileSync(file, 'utf8').split('\n');
const targets = await (await fetch(`http://127.0.0.1:${port}/json`)).json();
const socket = new WebSocket(targets.find((each) => each.type === 'page').webSocketDebuggerUrl);
await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });

let last = 0;
const waiting = new Map();
const urls = new Map();
const asked = [];
const complaints = [];
socket.onmessage = (event) => {
  const message = JSON.parse(event.data);
  if (message.id) {
    waiting.get(message.id)(message.result ?? message.error);
    waiting.delete(message.id);
  } else if (message.method === 'Network.requestWillBeSent' && message.params.type === 'Document') {
    const { request, requestId } = message.params;
    asked.push({ method: request.method, url: request.url.split('?')[0], cookies: [] });
    urls.set(requestId, [...(urls.get(requestId) ?? []), asked.at(-1)]);
  } else if (message.method === 'Network.requestWillBeSentExtraInfo') {
    const { associatedCookies, headers, requestId } = message.params;
    extra.push({ requestId, sent: associatedCookies.filter((each) => each.blockedReasons.length === 0).map((each) => each.cookie.name), path: headers[':path'] });
  } else if (message.method === 'Log.entryAdded') {
    complaints.push(message.params.entry.text);
  }
};
const extra = [];
const send = (method, params = {}) => new Promise((resolve) => {
  last += 1;
  waiting.set(last, resolve);
  socket.send(JSON.stringify({ id: last, method, params }));
});
const evaluate = async (expression) => (await send('Runtime.evaluate', { expression, returnByValue: true }))?.result?.value;

await send('Network.enable');
await send('Log.enable');
await send('Page.enable');
await send('Page.navigate', { url });
let page = '';
const shots = [];
for (let tries = 0; tries < 300; tries += 1) {
  await sleep(200);
  const ready = await evaluate('document.readyState');
  page = (await evaluate('location.href')) ?? '';
  if (ready !== 'complete') continue;
  if (page.startsWith(until)) break;
  if (page.includes('/consent')) {
    for (const width of [390, 1440]) {
      await send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: width < 500 });
      shots.push({ width, scrolls: await evaluate('document.documentElement.scrollWidth > innerWidth'), styled: await evaluate('document.styleSheets.length === 1 && document.styleSheets[0].cssRules.length > 0') });
    }
    await evaluate('document.querySelector(\'button[value="allow"]\').click()');
  } else if (await evaluate('!!document.querySelector("input[name=password]")')) {
    await evaluate(`{ const f = document.querySelector("input[name=password]").form;
      f.querySelector("[name=username]").value = ${JSON.stringify(name)};
      f.querySelector("[name=password]").value = ${JSON.stringify(name)};
      (f.querySelector("button,[type=submit]") ?? f).click(); }`);
  } else if (await evaluate('!!document.querySelector(".choices")')) {
    await evaluate('[...document.querySelectorAll(".choices a")].find((each) => each.href.endsWith("idp=sso")).click()');
  }
}
// The headers of each hop of one request come in its order.
for (const [requestId, hops] of urls) {
  extra.filter((each) => each.requestId === requestId).forEach((each, place) => { if (hops[place]) hops[place].cookies = each.sent; });
}
console.log(JSON.stringify({ page, asked, complaints, shots }));
socket.close();
browser.kill();
await new Promise((resolve) => browser.once('exit', resolve));
