// Opens the pages of sample runs in Chromium and looks at what a person would see: no message of
// trouble on the console, no request to anybody, every chart drawn, nothing wider than the window;
// in light and dark, at 360 and 1440 pixels, and on paper.
//
// Usage: node pages.mjs DIRECTORY [SCREENSHOTS]; needs playwright-core and a chromium on the path.
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";

const require = createRequire(process.env.PLAYWRIGHT_HOME ? join(process.env.PLAYWRIGHT_HOME, "package.json") : import.meta.url);
const { chromium } = require("playwright-core");
const [directory, shots] = process.argv.slice(2);
const CHARTS = { "run.html": 8, "honest.html": 8, "comparison.html": 5, "knee.html": 2 };
let passed = 0;
const failed = [];
const check = (what, holds, found) => {
  if (holds) passed += 1;
  else failed.push(`${what}: ${JSON.stringify(found)}`);
};

// Runs in the page: for each chart, how many of its pixels differ from its first one.
function painted() {
  return [...document.querySelectorAll("[data-chart]")].map((el) => {
    const canvas = el.querySelector("canvas");
    if (!canvas || !canvas.width || !canvas.height) return { chart: el.dataset.chart, pixels: 0, colours: 0 };
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const pixels = new Uint32Array(data.buffer);
    return {
      chart: el.dataset.chart,
      pixels: pixels.reduce((sum, p) => sum + (p !== pixels[0]), 0),
      colours: new Set(pixels).size,
      wide: canvas.getBoundingClientRect().width / el.clientWidth,
    };
  });
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
try {
  if (shots) mkdirSync(shots, { recursive: true });
  for (const [name, charts] of Object.entries(CHARTS)) {
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [360, 768, 1440]) {
        const at = `${name} ${colorScheme} ${width}`;
        const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
        const trouble = [], requests = [];
        page.on("console", (message) => trouble.push(message.text()));
        page.on("pageerror", (error) => trouble.push(String(error)));
        page.on("request", (request) => requests.push(request.url()));
        const url = pathToFileURL(resolve(directory, name)).href;
        await page.goto(url);
        await page.waitForFunction(() => document.documentElement.dataset.charts);
        const drawn = await page.evaluate(painted);
        check(`${at}: console`, trouble.length === 0, trouble);
        check(`${at}: requests`, requests.every((r) => r === url), requests);
        check(`${at}: charts`, drawn.length === charts, drawn.length);
        for (const chart of drawn) check(`${at}: ${chart.chart} is drawn`, chart.pixels > 500 && chart.colours > 8 && chart.wide <= 1.01, chart);
        const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        check(`${at}: width`, over <= 0, over);
        const head = await page.locator("h1").innerText();
        check(`${at}: verdict first`, head.length > 10, head);
        const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        check(`${at}: colours`, (colorScheme === "dark") === /rgb\((\d{1,2}), (\d{1,2}), (\d{1,2})\)/.test(dark), dark);
        if (shots) await page.screenshot({ path: join(shots, at.replaceAll(" ", "-").replace(".html", "") + ".png"), fullPage: true });
        await page.close();
      }
    }
    // On paper, and with another spectrum chosen.
    const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, colorScheme: "dark" });
    const trouble = [];
    page.on("console", (message) => trouble.push(message.text()));
    page.on("pageerror", (error) => trouble.push(String(error)));
    await page.goto(pathToFileURL(resolve(directory, name)).href);
    const pick = page.locator("#spectrum-of");
    if (await pick.count()) {
      await pick.selectOption({ index: 2 });
      const again = await page.evaluate(painted);
      check(`${name}: another spectrum`, again.every((chart) => chart.pixels > 500), again);
    }
    const paper = await page.pdf(shots ? { path: join(shots, name.replace(".html", ".pdf")), format: "A4" } : { format: "A4" });
    check(`${name}: paper`, paper.length > 20_000, paper.length);
    check(`${name}: console`, trouble.length === 0, trouble);
    await page.close();
  }
} finally {
  await browser.close();
}
for (const text of failed) console.log(`FAILED ${text}`);
console.log(`${passed} passed, ${failed.length} failed`);
process.exit(failed.length ? 1 : 0);
