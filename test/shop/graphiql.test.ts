import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium } from "playwright-core";
import { expect, it } from "vitest";
import { startShop } from "./start-shop.ts";

const executablePath = [
  process.env.CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
].find((path) => path && existsSync(path));

const screenshot = join(tmpdir(), "graphql-idempotent-graphiql.png");

/** Without the services that the browser would call for itself. */
function openBrowser(path: string): Promise<Browser> {
  return chromium.launch({
    executablePath: path,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

it("shows the prepared operation, its answer and its replay in a browser, and asks no other host", async ({
  skip,
}) => {
  if (!executablePath) {
    const message = "There is no Chromium on this machine: install it, or name it by CHROMIUM=/path/to/it.";
    if (process.env.CI === "true") throw new Error(message);
    return skip(message);
  }
  await using shop = await startShop();
  await using browser = await openBrowser(executablePath);
  const page = await browser.newPage({ viewport: { width: 1400, height: 860 } });
  const { origin } = new URL(shop.url);
  const strayed: string[] = [];
  await page.route(
    ({ origin: asked }) => asked !== origin,
    (route) => {
      strayed.push(route.request().url());
      return route.abort();
    },
  );
  // What the page's own policy forbids never becomes a request; the console tells of it.
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) strayed.push(message.text());
  });

  await page.goto(shop.url);
  const answer = page.locator(".graphiql-response");
  await page.getByText("createOrder").first().waitFor();
  const run = page.getByRole("button", { name: /^execute/i });
  await run.click();
  await answer.getByText("false").waitFor();
  await run.click();
  await answer.getByText("true").waitFor();
  await page.screenshot({ path: screenshot });

  const orders = await shop.query("SELECT id FROM orders");
  expect(orders).toHaveLength(1);
  const shown = await answer.textContent();
  expect(shown).toContain(orders[0]?.id);
  expect(shown).toMatch(/"stock":\s*249/);
  expect(strayed).toEqual([]);
}, 60_000);
