// What is asked of each page of the book; rendered.py reads the answers.
({
  // What was to become a formula, a link or an image, and did not.
  async look() {
    if (window.MathJax?.startup) await MathJax.startup.promise;
    await document.fonts.ready;
    for (const folded of document.querySelectorAll("details")) folded.open = true;

    const every = (what) => [...document.querySelectorAll(what)];
    const short = (text) => text.trim().replace(/\s+/g, " ").slice(0, 80);
    const unrendered = [];

    const raw = [
      /\$\$|\$[^$\s][^$\n]*\$/, // dollars around a formula
      /\\(begin|end|frac|sum|text|mathbb|mathrm)\b|\\[([]/, // TeX
      /\{[a-z][a-z:]*\}`|^:::|^```/m, // MyST
    ];
    const not = "script,style,pre,code,textarea,svg,mjx-container,noscript";
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const node = texts.currentNode;
      if (node.parentElement.closest(not)) continue;
      if (raw.some((one) => one.test(node.data))) unrendered.push(short(node.data));
    }

    const formulas = every("span.math, div.math");
    for (const formula of formulas) {
      if (formula.querySelector("mjx-container")) continue;
      unrendered.push(short(formula.textContent));
    }
    for (const error of every("[data-mjx-error]")) {
      unrendered.push(`error: ${error.getAttribute("data-mjx-error")}`);
    }

    const images = every("img");
    await Promise.all(images.map((image) => image.decode().catch(() => null)));
    const missing = images.filter((image) => !image.naturalWidth);
    return {
      formulas: formulas.length,
      unrendered: [...new Set(unrendered)],
      images: images.length,
      missing: missing.map((image) => image.getAttribute("src")),
    };
  },

  // What reaches over the edge of the page, and what scrolls by itself.
  measure() {
    const root = document.documentElement;
    const width = root.clientWidth;
    const over = [];
    const inside = {};
    const scrolls = (e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
    const inner = (e) => e !== root && e !== document.body;
    const kinds = { pre: "code", table: "tables", svg: "drawings", img: "images" };

    const wide = ["pre", "table", "svg[role=img]", "img", "mjx-container"];
    for (const e of document.querySelectorAll(wide.map((w) => `article ${w}`))) {
      const box = e.getBoundingClientRect();
      if (!box.width || e.parentElement.closest("mjx-container")) continue;
      const holders = [];
      for (let one = e; inner(one); one = one.parentElement) {
        if (scrolls(one)) holders.push(one);
      }
      const isKept = holders.some((one) => one.getBoundingClientRect().right <= width + 1);
      const text = e.getAttribute("aria-label") ?? e.textContent;
      const name = `${e.localName} "${text.trim().replace(/\s+/g, " ").slice(0, 40)}"`;
      if (!isKept) {
        if (box.right > width + 1) over.push(name);
      } else if (holders.some((one) => one.scrollWidth > one.clientWidth + 1)) {
        (inside[kinds[e.localName] ?? "formulas"] ??= []).push(name);
      }
    }
    const more = root.scrollWidth - width;
    if (more > 0) over.push(`the page scrolls sideways by ${more} px`);
    return { over, inside };
  },
});
