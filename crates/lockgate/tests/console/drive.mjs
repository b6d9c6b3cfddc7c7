// What a person does in the console, in a real browser. Commands come as lines of JSON, answers go as such.
//
// What the browser complains of in its console (a blocked script, a violated policy) is kept, and told at the end.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";

const require = createRequire(process.cwd() + "/");
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
const complaints = [];
const dialogs = [];
const watch = (page) => {
  page.setDefaultTimeout(20_000);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => { dialogs.push(dialog.message()); dialog.dismiss(); });
};

let context, page;
const fresh = async (options) => {
  await context?.close();
  context = await browser.newContext(options);
  // Pages of somebody else's, at addresses where nobody is.
  await context.route(/^http:\/\/(localhost|127\.0\.0\.1):8099\//, (route) =>
    route.fulfill({ contentType: "text/html", body: "<title>elsewhere</title>" }));
  page = await context.newPage();
  watch(page);
};
await fresh({});

const told = async (response) => ({
  url: page.url(), status: response?.status() ?? null, title: await page.title(),
  text: await page.locator("body").innerText(),
});

const commands = {
  fresh: async ({ options }) => fresh(options ?? {}),
  open: async ({ url }) => told(await page.goto(url)),
  // A link in a page of somebody else's, followed by a person.
  follow: async ({ from, url }) => {
    await page.goto(from);
    await page.setContent(`<a href="${url}">go</a>`);
    await page.getByText("go").click();
    await page.waitForURL((at) => at.toString().includes("/console/"));
    await page.waitForLoadState();
    await page.getByRole("heading", { level: 1 }).filter({ hasNotText: "One moment" }).waitFor();
    return told(null);
  },
  fill: async ({ label, text }) => page.getByLabel(label, { exact: true }).fill(text),
  // What is folded away.
  reveal: async ({ name }) => page.locator("summary").filter({ hasText: name }).first().click(),
  press: async ({ name }) => {
    const loaded = page.waitForResponse((response) => response.request().isNavigationRequest()
      && response.status() !== 303);
    await page.getByRole("button", { name, exact: true }).click();
    const response = await loaded;
    await page.waitForLoadState();
    return told(response);
  },
  // By keyboard alone: the field is found by its label, and what follows it by the tab key.
  type: async ({ label, text }) => {
    await page.keyboard.press("Tab");
    const isSkip = await page.evaluate(() => document.activeElement.textContent);
    for (let steps = 0; steps < 40; steps++) {
      const name = await page.evaluate(() => document.activeElement.labels?.[0]?.textContent ?? "");
      if (name === label) break;
      await page.keyboard.press("Tab");
    }
    await page.keyboard.type(text);
    await page.keyboard.press("Tab");
    const button = await page.evaluate(() => document.activeElement.textContent);
    const loaded = page.waitForResponse((response) => response.request().isNavigationRequest()
      && response.status() !== 303);
    await page.keyboard.press("Enter");
    const response = await loaded;
    await page.waitForLoadState();
    return { first: isSkip, button, ...(await told(response)) };
  },
  text: async ({ selector }) => page.locator(selector).allInnerTexts(),
  html: async () => page.content(),
  cookies: async () => context.cookies(),
  // A form of another site's page, sent by its script. What the gate answers is what counts.
  forge: async ({ from, action, fields }) => {
    const other = await context.newPage();
    watch(other);
    await other.goto(from);
    const answered = other.waitForResponse((response) => response.url().startsWith(action));
    // The browser says so in its console by itself, and perhaps after the answer is here.
    const complained = other.waitForEvent("console");
    await other.setContent(`<form method="post" action="${action}">`
      + Object.entries(fields).map(([name, value]) =>
        `<input name="${name}" value="${value}">`).join("")
      + "</form>");
    await other.evaluate(() => document.forms[0].submit());
    const status = (await answered).status();
    const headers = await (await answered).request().allHeaders();
    if (status >= 400) await complained;
    else complained.catch(() => {});
    await other.close();
    return { status, cookie: headers.cookie ?? null, site: headers["sec-fetch-site"] ?? null };
  },
  // What a program sends that has the cookie, and says that it is the console's own page.
  send: async ({ fields, action }) => {
    const origin = new URL(action).origin;
    const answer = await context.request.post(action, {
      form: fields, headers: { origin, "sec-fetch-site": "same-origin" }, maxRedirects: 0,
    });
    return { status: answer.status(), text: await answer.text() };
  },
  frame: async ({ from, url }) => {
    await page.goto(from);
    await page.setContent(`<iframe src="${url}"></iframe>`);
    const frame = page.frames().find((frame) => frame !== page.mainFrame());
    await frame.waitForLoadState();
    return frame.url();
  },
  axe: async () => {
    await page.evaluate(axe);
    const found = await page.evaluate(async () => axe.run(document, { resultTypes: ["violations"] }));
    return found.violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" | ")}`);
  },
  // How much wider than the window the page is.
  overflow: async () =>
    page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth),
  complaints: async () => ({ complaints, dialogs }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  let answer;
  try {
    answer = { done: (await commands[command](given)) ?? null };
  } catch (error) {
    answer = { failed: `${command}: ${error}` };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();
