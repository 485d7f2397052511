// Uses the page as a person does, in Chromium, at one width, and prints what it saw as JSON: node browser.mjs URL PICTURE WIDTH FOLDER
import chromium from '@sparticuz/chromium';
import { chromium as playwright } from 'playwright-core';

const [url, picture, width, folder] = process.argv.slice(2);
const browser = await playwright.launch({ executablePath: await chromium.executablePath(), args: chromium.args, headless: true });
const page = await (await browser.newContext({ viewport: { width: Number(width), height: 900 } })).newPage();
const elsewhere = new Set();
page.on('request', (request) => {
  if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) elsewhere.add(request.url());
});
const seen = (text) => page.waitForSelector(`text=${text}`, { state: 'attached', timeout: 90000 });
const press = (name) => page.getByRole('button', { name, exact: true }).click();

await page.goto(url);
await press('Label');
await seen('drop a picture first');
await page.setInputFiles('input[type=file] >> nth=0', picture);
await page.waitForSelector('img[src*="/file="]');
await press('Label');
await seen('_labels');
await page.screenshot({ path: `${folder}/label_${width}.png`, fullPage: true });
const rows = await page.locator('body').innerText();
await page.getByRole('tab', { name: 'Receptive fields' }).click();
await press('Show');
await seen('The halo is the context');
await page.getByLabel('classifier', { exact: true }).check();
await page.getByLabel('Classifier', { exact: true }).fill('compact');
await page.keyboard.press('Enter');
await press('Show');
await seen('output: sees the whole image');
await page.getByRole('tab', { name: 'Localize' }).click(); // all tabs are within reach on a phone
await page.getByRole('button', { name: 'Localize', exact: true }).click();
await page.waitForTimeout(500);
await page.screenshot({ path: `${folder}/field_${width}.png`, fullPage: true });
console.log(JSON.stringify({ rows, elsewhere: [...elsewhere], wide: await page.evaluate(() => document.documentElement.scrollWidth) }));
await browser.close();
