// A person with a keyboard in a real Chromium. One JSON object in on stdin, one out on stdout:
//   in   {"executable", "url", "width", "height" or absent, "scheme": "light" | "dark", "steps": [step, …]}
//   out  {"visited": [{"url", "title", "h1", "status", "order": […], "overflow"}], "violations": [text, …], "requests": [url, …], "url": the last}
// A step: {"do": "look", "shot": path or absent} | {"do": "tab to", "name": text} | {"do": "press", "key"} | {"do": "type", "text"} |
//         {"do": "go", "url"} | {"do": "await", "url": prefix} | {"do": "await request", "url": prefix}: nobody need answer there
// "look" notes the page: its focus order by Tab alone (role and name of each stop), and whether it is wider than the window.
import { text } from 'node:stream/consumers';
import { chromium } from 'playwright-core';

const asked = JSON.parse(await text(process.stdin));
const told = { visited: [], violations: [], requests: [], url: '' };
const browser = await chromium.launch({ executablePath: asked.executable, args: ['--no-sandbox', '--disable-gpu'] });
const context = await browser.newContext({ viewport: { width: asked.width, height: asked.height ?? 800 }, colorScheme: asked.scheme ?? 'light', reducedMotion: 'reduce' });
const page = await context.newPage();
page.setDefaultTimeout(15000);
let status = 0;
page.on('console', (message) => {
  if (message.type() === 'error' || message.type() === 'warning') told.violations.push(`${message.text()} at ${message.location().url}`);
});
page.on('pageerror', (error) => told.violations.push(String(error)));
page.on('request', (request) => told.requests.push(request.url()));
page.on('response', (response) => {
  if (response.request().isNavigationRequest()) status = response.status();
});

// What has the focus, as a person who cannot see would hear it, and whether one who sees can see it.
const focused = () =>
  page.evaluate(() => {
    const element = document.activeElement;
    if (element === null || element === document.body || element === document.documentElement) return null;
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 && box.width > 0 && box.height > 0 && box.top >= 0;
    return { tag: element.tagName.toLowerCase(), name: (element.getAttribute('aria-label') ?? element.innerText ?? element.value ?? '').trim(), seen };
  });

async function look(shot) {
  const order = [];
  await page.evaluate(() => document.activeElement?.blur());
  for (let stop = 0; stop < 60; stop += 1) {
    await page.keyboard.press('Tab');
    const now = await focused();
    if (now === null || (order.length > 0 && JSON.stringify(now) === JSON.stringify(order[0]))) break;
    order.push(now);
  }
  await page.evaluate(() => document.activeElement?.blur());
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  const h1 = await page.locator('h1').first().innerText().catch(() => '');
  told.visited.push({ url: page.url(), title: await page.title(), h1, status, order, overflow });
  if (shot) await page.screenshot({ path: shot, fullPage: true });
}

async function tabTo(name) {
  for (let stop = 0; stop < 60; stop += 1) {
    await page.keyboard.press('Tab');
    const now = await focused();
    if (now !== null && now.name.includes(name)) return;
  }
  throw new Error(`nothing called ${name} can be reached by Tab on ${page.url()}`);
}

async function requested(url) {
  for (let turn = 0; turn < 150; turn += 1) {
    if (told.requests.some((each) => each.startsWith(url))) return;
    await page.waitForTimeout(100);
  }
  throw new Error(`${url} was never asked for; the browser said: ${told.violations.join('; ')}`);
}

try {
  await page.goto(asked.url);
  for (const step of asked.steps) {
    if (step.do === 'look') await look(step.shot);
    else if (step.do === 'tab to') await tabTo(step.name);
    else if (step.do === 'press') await page.keyboard.press(step.key);
    else if (step.do === 'type') await page.keyboard.type(step.text);
    else if (step.do === 'go') await page.goto(step.url);
    else if (step.do === 'await') await page.waitForURL((url) => url.href.startsWith(step.url), { waitUntil: 'load' });
    else if (step.do === 'await request') await requested(step.url);
    else throw new Error(`no step ${step.do}`);
  }
  told.url = page.url();
} catch (error) {
  told.failed = `${error}\nat ${page.url()}: ${await page.locator('body').innerText().catch(() => '')}`;
} finally {
  await browser.close();
}
process.stdout.write(`${JSON.stringify(told)}\n`);
