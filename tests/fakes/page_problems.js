// What is wrong with the page that is open, in sentences; `byColour`: with its texts' contrast too (WCAG 2.2, 1.4.3).
(byColour) => {
  const problems = [], main = document.querySelector("main");
  const named = (one) => `${one.tagName.toLowerCase()} "${(one.innerText || one.getAttribute("name") || one.outerHTML).slice(0, 40)}"`;
  const seen = (one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  if (document.documentElement.scrollWidth > innerWidth) {
    const wide = [...document.querySelectorAll("main *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1);
    problems.push(`wider than the screen: ${wide.slice(-2).map(named)}`);
  }
  if ([...document.querySelectorAll("h1")].filter(seen).length !== 1) problems.push("not one heading");
  for (const one of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
    if (!one.labels?.length && !one.ariaLabel) problems.push(`no label: ${named(one)}`);
  for (const one of document.querySelectorAll("button, a[href]"))
    if (seen(one) && !(one.innerText || one.ariaLabel || one.textContent).trim() && !one.querySelector("img[alt], canvas"))
      problems.push(`no name: ${one.outerHTML.slice(0, 90)}`);
  for (const one of document.images) if (!one.hasAttribute("alt")) problems.push(`no alt: ${one.src}`);
  const keys = [...(main ?? document).querySelectorAll("[data-key]")].filter(seen).map((one) => one.dataset.key);
  for (const key of new Set(keys)) if (keys.indexOf(key) !== keys.lastIndexOf(key)) problems.push(`two of key ${key}`);
  if (byColour) problems.push(...weakTexts());
  return problems;

  function weakTexts() {
    const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const over = (colour, ground) => {
      pixel.fillStyle = `rgb(${ground})`; pixel.fillRect(0, 0, 1, 1);
      pixel.fillStyle = colour; pixel.fillRect(0, 0, 1, 1);
      return [...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const luminance = (rgb) => {
      const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (one) => {
      const above = [];
      for (let at = one; at; at = at.parentElement) above.push(getComputedStyle(at).backgroundColor);
      return above.reverse().reduce((below, colour) => over(colour, below), [255, 255, 255]);
    };
    const weak = new Map();
    for (const one of document.body.querySelectorAll("*")) {
      const text = [...one.childNodes].filter((child) => child.nodeType === 3).map((child) => child.data.trim()).join("");
      if (!text || one.closest("svg, canvas, option, .old, .old-rest, [disabled], .skip") || !seen(one)) continue;
      const style = getComputedStyle(one), size = parseFloat(style.fontSize), below = ground(one);
      const least = size >= 24 || (size >= 18.6 && style.fontWeight >= 700) ? 3 : 4.5;
      const [dark, light] = [below, over(style.color, below)].map(luminance).sort((a, b) => a - b);
      const contrast = (light + 0.05) / (dark + 0.05);
      if (contrast < least) weak.set(`${one.className} ${style.color}`, `${contrast.toFixed(2)} to 1: ${named(one)}`);
    }
    return weak.values();
  }
}
